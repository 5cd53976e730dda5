"""`study.analyze`: the list of analyzers, their names and settings, all of them at once."""

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import ClassVar

import pytest

import sdelens
from sdelens.containment.exits import StopRequested
from sdelens.errors import UnknownName, UsageError
from sdelens.interfaces import load
from sdelens.protocols import COSTS
from sdelens.registry import forget, plugins, registered
from sdelens.report import Finding
from sdelens.runs import open_study, run_analyzers
from sdelens.runs.analyzer_list import OTHER, AnalyzerList
from sdelens.runs.observer import NullObserver
from sdelens.runs.saved_findings import findings_of
from sdelens.summary import QUESTIONS


@dataclass(frozen=True)
class Counted:
    """How many views there are, and more.

    It counts `most` at most.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "run"
    answers: ClassVar[str] = "How many?"
    cost: ClassVar[str] = "seconds"
    most: int = 9

    def analyze(self, study, *, seed):
        return Finding("all", f"{min(self.most, len(study.views))} views", "")


@dataclass(frozen=True)
class Members(Counted):
    """Needs what this fit has not."""

    needs: ClassVar[frozenset[str]] = frozenset({"ensemble"})


@dataclass(frozen=True)
class Prompted(Counted):
    """Needs a text."""

    needs: ClassVar[frozenset[str]] = frozenset({"prompt"})


@pytest.fixture
def own():
    """Analyzers registered by a test are gone after it."""
    before = registered()
    sdelens.analyzer("counted")(Counted)
    sdelens.analyzer("of_members")(Members)
    sdelens.analyzer("prompted")(Prompted)
    yield
    forget(before)


@pytest.fixture
def study(run, own):
    return sdelens.load(run.folder)


def test_without_a_name_the_analyzers_are_listed_by_question_and_none_is_run(study):
    before = findings_of(study.run)
    listed = study.analyze()
    assert [row.name for row in listed.analyzers] == list(plugins("analyzer"))
    assert list(listed.sections) == [*QUESTIONS, "How many?"]
    assert findings_of(study.run) == before
    rows = {row.name: row for row in listed.analyzers}
    assert (rows["counted"].about, rows["counted"].cost) == (
        "How many views there are, and more.",
        "seconds",
    )
    assert "--ensemble 5" in rows["of_members"].lacks
    assert (rows["prompted"].lacks, rows["losses"].lacks) == ("needs prompt=", "")
    assert rows["counted"].uses_model
    assert not rows["losses"].uses_model


def test_the_list_fits_a_terminal_and_a_notebook(study):
    listed = study.analyze()
    assert max(map(len, repr(listed).splitlines())) <= 80
    assert "\n  counted          seconds*   How many views there are" in repr(listed)
    assert "<code>counted</code>" in listed._repr_html_()
    assert repr(study.analyze) == repr(listed)
    assert list(listed.to_pandas().name) == list(plugins("analyzer"))


def test_an_analyzer_that_does_not_load_is_listed_with_the_reason(study, monkeypatch):
    monkeypatch.delattr(Counted, "scope")
    rows = {row.name: row for row in AnalyzerList.of(study).analyzers}
    assert "has no scope" in rows["counted"].lacks
    assert rows["counted"] in AnalyzerList.of(study).sections[OTHER]


def test_every_built_in_analyzer_has_a_question_and_a_cost():
    for name in plugins("analyzer"):
        kind = load("analyzer", name)
        assert kind.answers in QUESTIONS, name
        assert kind.cost in COSTS, name


def test_a_call_without_a_name_has_no_arguments(study):
    with pytest.raises(UsageError, match=r"analyze\(prompt=…\) does not name an analyzer"):
        study.analyze(prompt="the sea")


def test_an_analyzer_is_an_attribute_with_its_settings(study):
    counted = study.analyze.counted
    assert list(signature(counted).parameters) == ["prompt", "layer", "most"]
    assert signature(counted).parameters["most"].default == 9
    assert counted.__doc__ == (
        "How many views there are, and more.\n\nIt counts `most` at most.\n\n"
        "Question: How many?\nCost: seconds, runs the model"
    )
    assert counted(most=1).headline.startswith("1 views")
    assert study.analyze("counted", most=1).settings == {"most": 1}
    with pytest.raises(UnknownName, match="setting of counted"):
        counted(least=1)
    assert not hasattr(study.analyze, "counting")


def test_one_that_is_registered_later_is_an_attribute_too(study):
    sdelens.analyzer("later")(Counted)
    assert study.analyze.later().analyzer == "later"


@pytest.mark.parametrize("jedi", [True, False])
def test_ipython_completes_names_and_settings(study, jedi):
    from IPython.core.completer import IPCompleter

    completer = IPCompleter(namespace={"study": study}, use_jedi=jedi)

    def completed(text):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = completer.completions(text, len(text))
            return {each.text.removeprefix(".") for each in found}

    assert "counted" in completed("study.analyze.cou")
    assert "most=" in completed("study.analyze.counted(mo")


class Cut(Counted):
    """Is interrupted the first time."""

    calls: ClassVar[list[int]] = []

    def analyze(self, study, *, seed):
        self.calls.append(seed)
        if len(self.calls) == 1:
            raise StopRequested
        return super().analyze(study, seed=seed)


def test_an_interrupt_keeps_finished_findings_and_resume_does_not_repeat_them(study, monkeypatch):
    runs = []

    class First(Counted):
        """Comes first."""

        def analyze(self, study, *, seed):
            runs.append(seed)
            return super().analyze(study, seed=seed)

    sdelens.analyzer("first")(First)
    sdelens.analyzer("interrupted")(Cut)
    names = ("first", "interrupted", "of_members")
    monkeypatch.setattr(run_analyzers, "plugins", lambda _: dict.fromkeys(names))
    with pytest.raises(KeyboardInterrupt):
        study.analyze_all()
    assert "first" in {finding.analyzer for finding in study.report().findings}
    found = study.analyze_all(resume=True)
    assert [finding.analyzer for finding in found] == ["first", "interrupted"]
    assert len(runs) == 1
    assert list(study.report().failures) == ["of_members L00+L01"]


def test_a_notebook_shows_progress_and_what_was_left_out(study, monkeypatch):
    class Counting(NullObserver):
        """Counts."""

        stages, messages = {}, []

        @contextmanager
        def stage(self, name, total, unit):
            yield lambda steps, remark="", total=None: self.stages.setdefault(name, []).append(
                remark
            )

        def told(self, sentence):
            self.messages.append(sentence)

    monkeypatch.setattr(open_study, "at_hand", Counting)
    names = ("counted", "of_members")
    monkeypatch.setattr(run_analyzers, "plugins", lambda _: dict.fromkeys(names))
    study.analyze_all()
    assert Counting.stages == {"analyze": ["counted L00+L01"]}
    assert Counting.messages[0].startswith("left out: of_members L00+L01: ")
