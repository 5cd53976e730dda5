"""All analyzers on all models at hand, on a prompt of five tokens and on a full context."""

import math

import pytest

from sdelens.interfaces import load
from sdelens.registry import plugins
from sdelens.report import Report
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from tests.conftest import SHARED_MODELS
from tests.plugins.reporters.figures.legibility import faults
from tests.quick import quick
from tests.small import of_tokens

QUICK = "tiny", "stories260K"
"""GPT-2 with learned positions, and Llama; the others are left to the slow tests."""
MODELS = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
    for name in ("tiny", *SHARED_MODELS)
]


@pytest.fixture(scope="module", params=MODELS)
def run(request, tmp_path_factory):
    """A quick neural fit of the first block and the last."""
    name = request.param
    if name != "tiny":
        name = str(request.getfixturevalue("shared") / "models" / name)
    job = Job(
        model=name,
        layers="0,-1",
        source_settings={"documents_wanted": 110, "length": 40, "ignore_eos": True},
        probe_settings={"epochs": 1, "least_steps": 2, "width": 8, "noise_width": 8},
        basis="pca:6",
        cache=False,
    )
    return execute(job, tmp_path_factory.mktemp("runs") / "run")


def findings_of(run, prompt, names):
    """What these analyzers find about a prompt, by name."""
    whole = run.study(prompt)
    last = whole.only(run.views[-1])
    asked = {name: quick(name) for name in names}
    return {
        name: analyzer.analyze(last if analyzer.scope == "view" else whole, seed=0)
        for name, analyzer in asked.items()
    }


def require_answers(findings):
    """Each has a headline, figures and numbers; the page of all of them is small."""
    for name, finding in findings.items():
        assert finding.headline, name
        constant = "the same at every state" in finding.headline
        assert finding.figures or constant, name
        numbers = [estimate.value for estimate in finding.estimates]
        assert any(math.isfinite(value) for value in numbers), name
    page = load("reporter", "html")().page(Report("", (), findings=tuple(findings.values())))
    assert len(page.encode()) < 5e6


@pytest.fixture(scope="module")
def short(run):
    """What all analyzers find about a prompt of five tokens."""
    bos = run.model.card.bos is not None
    return findings_of(run, of_tokens(run.model, bos + 5), plugins("analyzer"))


def test_every_analyzer_answers_about_five_tokens(run, short):
    require_answers(short)
    if run.card.name == "tiny":  # figures are drawn twice: on the page, and to be measured
        figures = [(name, f) for name, finding in short.items() for f in finding.figures]
        assert [(name, fault) for name, f in figures for fault in faults(f)] == []


def test_every_analyzer_of_a_prompt_answers_about_a_full_context(run, short):
    names = [name for name, finding in short.items() if finding.prompt is not None]
    assert len(names) > 5
    require_answers(findings_of(run, of_tokens(run.model, run.model.card.context), names))
