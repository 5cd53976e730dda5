"""Shares of drift of known laws and of a real model."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.noise import ConstantNoise
from sdelens.language.token_class import classify
from sdelens.protocols import Analyzer
from sdelens.runs.findings import load_finding, save_finding
from sdelens_plugins.analyzers.drift_share import DriftShareAnalyzer
from tests.asked import value
from tests.language import around, kernel, real_study, three_sides

DECAY = 0.5


@pytest.fixture(scope="module")
def sides():
    """Paths of X' = X/2 + noise, near enough to stationary from their second state on."""
    law = kernel(DECAY, 3, ConstantNoise.independent(torch.full((3,), (1 - DECAY**2) ** 0.5)))
    return three_sides(law)


@pytest.fixture(scope="module")
def study(stories):
    return real_study(stories)


def off(std=1.0, decay=DECAY):
    return kernel(
        decay, 3, ConstantNoise.independent(torch.full((3,), std * (1 - DECAY**2) ** 0.5))
    )


def test_it_fulfils_the_protocol():
    assert isinstance(DriftShareAnalyzer(), Analyzer)
    assert DriftShareAnalyzer.scope == "view"


def test_the_true_law_has_the_closed_form_share_and_no_gap(sides):
    finding = DriftShareAnalyzer().analyze(around(off(), sides), seed=0)
    share, gap = value(finding, "drift, all"), value(finding, "noise over squared")
    assert abs(share.value - (1 - DECAY) / 2) < 4 * share.stderr
    assert abs(gap.value) < 4 * gap.stderr
    assert "consistent with the residuals" in finding.headline
    assert "all transitions are one class" in finding.reading


@pytest.mark.parametrize(("std", "word"), [(0.7, "too small"), (1.5, "too large")])
def test_noise_of_the_wrong_size_is_detected(sides, std, word):
    finding = DriftShareAnalyzer().analyze(around(off(std), sides), seed=0)
    gap = value(finding, "noise over squared")
    assert abs(gap.value - (std**2 - 1)) < 4 * gap.stderr
    assert word in finding.headline


def test_without_a_model_there_is_one_class(sides):
    finding = DriftShareAnalyzer().analyze(around(off(), sides), seed=0)
    # half of the state is kept, so that the mean state alone is no better than the random walk
    bars = finding.figures[0].panels[0].layers[0]
    assert bars.words == ("all transitions",)
    assert len(finding.figures[0].panels) == 1


def test_classes_of_a_real_model_are_those_of_its_tokens(study):
    finding = DriftShareAnalyzer().analyze(study, seed=0)
    left, reached = finding.figures[0].panels
    assert left.title == "By the token that is left"
    assert {"function word", "content word", "punctuation"} <= set(left.layers[0].words)
    tokens = [d.tokens for d in list(study.documents)[50:]]
    kinds = [classify(study.model.decode(ids)) for ids in tokens]
    # states are recorded from position 1 on, and a step leaves all but the last
    counted = torch.bincount(
        torch.tensor([int(k) for row in kinds for k in row[1:-1]]), minlength=6
    )
    assert finding.arrays["from.count"].tolist() == counted.tolist()
    later = torch.bincount(torch.tensor([int(k) for row in kinds for k in row[2:]]), minlength=6)
    assert finding.arrays["to.count"].tolist() == later.tolist()
    assert reached.layers[1].label == "mean state alone"


def test_a_finding_is_the_same_again_and_saved_whole(study, tmp_path):
    before = torch.get_rng_state()
    first, again = (DriftShareAnalyzer().analyze(study, seed=0) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.estimates == again.estimates
    save_finding(first, tmp_path)
    assert load_finding(tmp_path).headline == first.headline


def test_one_document_has_shares_and_no_intervals(sides):
    study = around(off(), sides)
    ((view, viewed),) = study.views.items()
    alone = replace(viewed, test=viewed.test.select([75]))
    finding = DriftShareAnalyzer().analyze(replace(study, views={view: alone}), seed=0)
    assert value(finding, "drift, all").stderr is None
    assert "nan" not in finding.headline


def test_no_documents_are_refused():
    with pytest.raises(UsageError, match="documents must be at least 1"):
        DriftShareAnalyzer(documents=0)


def test_over_short_steps_the_comparison_is_with_the_random_walk():
    law = kernel(0.95, 3, ConstantNoise.independent(torch.full((3,), (1 - 0.95**2) ** 0.5)))
    finding = DriftShareAnalyzer().analyze(around(law, three_sides(law)), seed=0)
    assert "the mean state alone predicts none" in finding.headline
    assert len(finding.figures[0].panels[0].layers) == 1
