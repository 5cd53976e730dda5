import errno
import shutil
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest

from sdelens.errors import BrokenPlugin, UnknownName, Unreachable, UsageError
from sdelens.registering import analyzer as register
from sdelens.registering import reporter as register_reporter
from sdelens.registry import forget, registered
from sdelens.report import Estimate, Finding
from sdelens.runs import reporting
from sdelens.runs.reporting import (
    analyze,
    report_of,
    run_analyzers,
)
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import failures_of, findings_of


@dataclass(frozen=True)
class Counting:
    """How many views it is given."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "run"

    def analyze(self, study, *, seed):
        count = Estimate("views", float(len(study.views)))
        return Finding("all", f"{len(study.views)} views", "", estimates=(count,))


@dataclass(frozen=True)
class Failing:
    """Never answers."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    def analyze(self, study, *, seed):
        raise ZeroDivisionError("by zero")


@dataclass(frozen=True)
class Asking(Counting):
    """Needs a prompt."""

    needs: ClassVar[frozenset[str]] = frozenset({"prompt"})


@pytest.fixture
def installed(monkeypatch):
    """These analyzers and no others."""
    kinds = {"counting": Counting, "failing": Failing, "asking": Asking}

    before = registered()
    for name, kind in kinds.items():
        register(name)(kind)
    monkeypatch.setattr(reporting, "plugins", lambda _: dict.fromkeys(kinds))
    yield
    forget(before)


def test_who_was_not_named_and_cannot_answer_is_left_out_with_its_reason(run, installed):
    findings, left_out = analyze(run)
    assert [finding.headline for finding in findings] == ["2 views"]
    for label in ("failing L00", "failing L01"):
        assert left_out[label].startswith("ZeroDivisionError: by zero (traceback: ")
    assert "--prompt" in left_out["asking L00+L01"]
    assert failures_of(run) == left_out
    report = report_of(run)
    assert report.failures == left_out
    assert [finding.headline for finding in report.findings] == ["2 views"]
    assert findings_of(run)[0].estimates[0].value == 2


def test_who_was_named_and_cannot_answer_is_an_error(run, installed):
    with pytest.raises(BrokenPlugin, match="failing L00 failed: ZeroDivisionError"):
        analyze(run, ["failing"])
    with pytest.raises(UsageError, match="--prompt"):
        analyze(run, ["counting", "asking"])


@dataclass(frozen=True)
class Unscoped:
    """Does not say what it looks at."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()

    def analyze(self, study, *, seed):
        raise AssertionError("never asked")


@dataclass(frozen=True)
class Numbered(Counting):
    """Needs what is no set."""

    needs: ClassVar[int] = 3


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Unscoped, "has no scope: write scope = 'view'$"),
        (
            Numbered,
            r"needs = 3, which must be frozenset\[str\] out of sde, .*: write needs = ",
        ),
    ],
)
def test_an_analyzer_that_cannot_be_asked_stops_only_who_names_it(
    run, installed, monkeypatch, kind, said
):
    register("odd")(kind)
    monkeypatch.setattr(reporting, "plugins", lambda _: dict.fromkeys(("odd", "counting")))
    findings, left_out = analyze(run)
    assert [finding.headline for finding in findings] == ["2 views"]
    assert list(left_out) == ["odd"]
    with pytest.raises(BrokenPlugin, match=f"the analyzer 'odd' of .* {said}"):
        analyze(run, ["odd"])


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
    assert reporting.finding_folder(run, finding).parent.name == "mine"


def test_what_is_no_finding_is_refused(run, installed):
    register("mine")(Speechless)
    with pytest.raises(BrokenPlugin, match="mine must return a Finding, got str"):
        analyze(run, ["mine"])


def test_an_analyzer_that_fails_leaves_its_traceback_and_stops_no_other(run, installed):
    with pytest.raises(BrokenPlugin, match="failing L00 failed: ZeroDivisionError") as raised:
        analyze(run, ["failing", "counting"])
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    for view in ("L00", "L01"):
        file = run.folder / "analysis" / "failing" / f"{view}.traceback.txt"
        assert str(file) in str(raised.value)
        assert 'raise ZeroDivisionError("by zero")' in file.read_text()
    assert findings_of(run)[0].analyzer == "counting"


def test_a_usage_error_of_a_named_analyzer_stops_no_other_and_a_broken_one_decides(run, installed):
    names = ["asking", "failing", "counting"]
    findings, left_out = run_analyzers(run, names)
    assert [finding.analyzer for finding in findings] == ["counting"]
    assert list(left_out.failures) == ["asking L00+L01", "failing L00", "failing L01"]
    with pytest.raises(BrokenPlugin, match=r"--prompt.*; the analyzer failing L00 failed") as one:
        analyze(run, names)
    assert one.value.exit_code == 6


def test_a_model_that_cannot_be_loaded_stops_only_analyzers_that_use_it(
    run, installed, monkeypatch
):
    @dataclass(frozen=True)
    class Modelled(Counting):
        needs: ClassVar[frozenset[str]] = frozenset({"model"})

    def lost(_):
        raise Unreachable("no network")

    register("modelled")(Modelled)
    monkeypatch.setattr(Run, "model", property(lost))
    findings, left_out = run_analyzers(Run(run.folder), ["modelled", "counting"])
    assert [finding.analyzer for finding in findings] == ["counting"]
    assert [str(failure) for failure in left_out.failures.values()] == ["no network"]


def test_a_failure_that_is_mended_leaves_no_folder_whatever_the_prompt(
    run, installed, monkeypatch
):
    @dataclass(frozen=True)
    class Mended(Failing):
        def analyze(self, study, *, seed):
            return Finding(str(study.single[0]), "It works.", "")

    shutil.rmtree(run.folder / "analysis" / "failing", ignore_errors=True)
    with pytest.raises(BrokenPlugin):
        analyze(run, ["failing"], prompt="a cat")
    register("failing")(Mended)
    analyze(run, ["failing"])
    left = sorted(file.name for file in (run.folder / "analysis" / "failing").iterdir())
    assert left == ["L00", "L01"]


def test_the_traceback_is_gone_once_the_analyzer_answers(run, installed):
    @dataclass(frozen=True)
    class Mended(Failing):
        def analyze(self, study, *, seed):
            return Finding(str(study.single[0]), "It works.", "")

    with pytest.raises(BrokenPlugin):
        analyze(run, ["failing"])
    register("failing")(Mended)
    analyze(run, ["failing"])
    assert not [*run.folder.rglob("*traceback.txt")]


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


@dataclass(frozen=True)
class Full(Counting):
    """Writes where no room is."""

    def analyze(self, study, *, seed):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("names", [(), ("full",)])
def test_a_full_disk_is_no_fault_of_the_analyzer(run, installed, monkeypatch, names):
    register("full")(Full)
    monkeypatch.setattr(reporting, "plugins", lambda _: dict.fromkeys(("full",)))
    with pytest.raises(OSError, match="No space left"):
        analyze(run, names)


def test_a_reporter_that_fails_is_blamed(run, installed):
    class Torn:
        def render(self, report, folder):
            raise ValueError("torn")

    register_reporter("torn")(Torn)
    with pytest.raises(BrokenPlugin, match="the reporter torn failed: ValueError: torn"):
        reporting.write_report(run, "torn")


def test_a_finding_of_a_prompt_lies_beside_others(run, installed):
    (finding,), _ = analyze(run, ["counting"])
    assert reporting.finding_folder(run, finding).name == "all"
    asked = Finding("all", "", "", prompt="a cat", analyzer="counting")
    assert reporting.finding_folder(run, asked).name.startswith("all-")
