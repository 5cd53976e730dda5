"""The costs of analyses before they run, and the settings for a first look."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

from sdelens.registering import analyzer as register
from sdelens.registry import forget, registered
from sdelens.report import Finding
from sdelens.runs.analyzer_list import PlannedAnalyses
from sdelens.runs.run_analyzers import run_analyzers


@dataclass(frozen=True)
class Plain:
    """Of each view, without a cost."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    def analyze(self, study, *, seed):
        return Finding("all", "something", "")


@dataclass(frozen=True)
class Sized(Plain):
    """Looks at so many texts, of all views."""

    scope: ClassVar[str] = "run"
    quick: ClassVar[dict[str, int]] = {"texts": 3}
    cost: ClassVar[str] = "minutes"

    texts: int = 9


@pytest.fixture(autouse=True)
def installed():
    before = registered()
    register("plain")(Plain)
    register("mine")(Sized)
    yield
    forget(before)


def test_a_first_look_has_settings_of_its_own_which_others_precede(run):
    def texts(**given):
        ((finding,), _) = run_analyzers(run, ["mine"], **given)
        return finding.settings["texts"]

    assert texts() == 9
    assert texts(quick=True) == 3
    assert texts(quick=True, settings={"mine": {"texts": 5}}) == 5


def test_costs_are_known_before_an_analysis(run):
    planned = PlannedAnalyses.of(["plain", "mine", "missing"], views=len(run.views))
    assert planned.total == 2 + 1, "one of each view, and one of all"
    assert str(planned).startswith("3 to run. minutes: mine; unknown: plain. ")
