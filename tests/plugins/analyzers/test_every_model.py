"""All analyzers on all models at hand, on a prompt of five tokens and on a full context."""

import math

import pytest

from sdelens.interfaces import load
from sdelens.registry import plugins
from sdelens.report import Report
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from tests.conftest import SHARED_MODELS
from tests.quick import quick
from tests.small import of_tokens


@pytest.fixture(scope="module", params=["tiny", *SHARED_MODELS])
def run(request, tmp_path_factory):
    """A quick neural fit of the first block and the last."""
    name = request.param
    if name != "tiny":
        name = str(request.getfixturevalue("shared") / "models" / name)
    job = Job(
        model=name,
        layers="0,-1",
        source_settings={"documents_wanted": 90, "length": 40, "ignore_eos": True},
        probe_settings={"epochs": 1, "least_steps": 2, "width": 8, "noise_width": 8},
        basis="pca:6",
        cache=False,
    )
    return execute(job, tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize("whole", [False, True], ids=["five tokens", "a full context"])
def test_every_analyzer_answers_about_every_text(run, whole):
    bos = run.model.card.bos is not None
    prompt = of_tokens(run.model, run.model.card.context if whole else bos + 5)
    whole_run = run.study(prompt)
    last = whole_run.only(run.views[-1])
    asked = [quick(name) for name in plugins("analyzer")]
    findings = [a.analyze(last if a.scope == "view" else whole_run, seed=0) for a in asked]
    for finding in findings:
        assert finding.headline, finding.analyzer
        constant = "the same at every state" in finding.headline
        assert finding.figures or constant, finding.analyzer
        numbers = [estimate.value for estimate in finding.estimates]
        assert any(math.isfinite(value) for value in numbers), finding.analyzer
    page = load("reporter", "html")().page(Report("", (), findings=tuple(findings)))
    assert len(page.encode()) < 5e6
