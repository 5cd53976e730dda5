from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from sdelens.errors import BrokenPlugin, UnknownName, UsageError
from sdelens.registering import analyzer as register
from sdelens.registering import reporter as register_reporter
from sdelens.report import Finding
from sdelens.runs import run_analyzers as module
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import analyze
from tests.core.runs.small_analyzers import Counting


@dataclass(frozen=True)
class Renamed(Counting):
    """Says another analyzer's name."""

    def analyze(self, study, *, seed):
        return replace(super().analyze(study, seed=seed), analyzer="counting")


@dataclass(frozen=True)
class Speechless(Counting):
    """Gives what is no finding."""

    def analyze(self, study, *, seed):
        return "two views"


def test_a_finding_has_the_name_under_which_its_analyzer_was_asked(run, installed):
    register("mine")(Renamed)
    (finding,), _ = analyze(run, ["mine"])
    assert finding.analyzer == "mine"
    assert module.finding_folder(run, finding).parent.name == "mine"


def test_what_is_no_finding_is_refused(run, installed):
    register("mine")(Speechless)
    with pytest.raises(BrokenPlugin, match="mine must return a Finding, got str"):
        analyze(run, ["mine"])


def test_needs_of_the_fit_are_checked_before_the_model_is_loaded(run, installed, monkeypatch):
    @dataclass(frozen=True)
    class Both(Counting):
        needs: ClassVar[frozenset[str]] = frozenset({"ensemble", "model"})

    register("both")(Both)
    monkeypatch.setattr(Run, "model", property(lambda _: pytest.fail("the model was loaded")))
    with pytest.raises(UsageError, match="--ensemble 5"):
        analyze(Run(run.folder), ["both"])


def test_an_analyzer_with_settings_counts_as_named(run, installed):
    with pytest.raises(UnknownName, match="bogus"):
        analyze(run, settings={"counting": {"bogus": 1}})
    findings, left_out = analyze(run, settings={"counting": {}})
    assert len(findings) == 1
    assert "failing L00" in left_out


def test_a_reporter_that_fails_is_blamed(run, installed):
    class Torn:
        def render(self, report, folder):
            raise ValueError("torn")

    register_reporter("torn")(Torn)
    with pytest.raises(BrokenPlugin, match="the reporter torn failed: ValueError: torn"):
        module.write_report(run, "torn")


def test_a_finding_of_a_prompt_lies_beside_others(run, installed):
    (finding,), _ = analyze(run, ["counting"])
    assert module.finding_folder(run, finding).name == "all"
    asked = Finding("all", "", "", prompt="a cat", analyzer="counting")
    assert module.finding_folder(run, asked).name.startswith("all-")
