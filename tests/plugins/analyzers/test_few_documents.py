"""Nothing is concluded from fewer than ten held-out documents, nor called a 95% interval."""

import re
from dataclasses import replace

import pytest
import torch

from sdelens.paths.documents import Document, Documents
from sdelens.runs.run_analyzers import finding_of
from sdelens_plugins.analyzers.drift_share import DriftShareAnalyzer
from sdelens_plugins.analyzers.goodness_of_fit.analyzer import GoodnessOfFitAnalyzer
from sdelens_plugins.analyzers.moments.analyzer import MomentsAnalyzer
from sdelens_plugins.analyzers.stability.analyzer import StabilityAnalyzer
from sdelens_plugins.analyzers.trajectory.analyzer import TrajectoryAnalyzer
from tests.plugins.analyzers.studied import BLOCK, around, autoregression, kernel

ANALYZERS = {
    "drift_share": DriftShareAnalyzer(),
    "goodness_of_fit": GoodnessOfFitAnalyzer(draws=2, paths=4, starts=16, projections=2, nulls=0),
    "moments": MomentsAnalyzer(steps=5, replicates=20),
    "stability": StabilityAnalyzer(states=64, paths=2, exponents=1, steps=20, long_run=10),
    "trajectory": TrajectoryAnalyzer(),
}


def found(name, documents):
    """The finding of an analyzer on so many held-out paths, as reports print it."""
    train, validation = (autoregression(n, 12, seed=n) for n in (60, 12))
    test = autoregression(documents, 12, seed=3)
    documents_of_run = Documents.of([Document((k, k + 1)) for k in range(60)])
    study = around(kernel(0.5 * torch.eye(4), 1.0), train, validation, test)
    fitted = study.views[BLOCK].fitted
    record = replace(fitted.record, scores={"held_out_documents": documents, "baselines": {}})
    view = replace(study.views[BLOCK], fitted=replace(fitted, record=record))
    study = replace(study, views={BLOCK: view}, documents=documents_of_run)
    return finding_of(ANALYZERS[name], name, study, seed=0)


def texts(finding):
    """Everything that is printed of a finding but how to read it."""
    captions = [figure.caption for figure in finding.figures]
    return [finding.headline, *captions, *map(str, finding.estimates)]


@pytest.mark.parametrize("name", ANALYZERS)
def test_few_documents_have_errors_and_no_intervals(name):
    few = found(name, 9)
    assert "This describes 9 held-out documents and allows no conclusion" in few.headline
    for text in texts(few):
        assert not re.search(r"95% interval|95% \[|, 95%|\d%? \[-?\d|nan", text), text


@pytest.mark.parametrize("name", ANALYZERS)
def test_ten_documents_have_intervals(name):
    enough = found(name, 10)
    assert "no conclusion" not in enough.headline
    if name != "moments":  # which has bands of replicates
        assert any(re.search(r"95% interval|95% \[|\d%? \[-?\d", text) for text in texts(enough))
