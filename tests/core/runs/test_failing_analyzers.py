"""Analyzers that cannot run: who is told, what is kept, and what goes on."""

import errno
import shutil
from dataclasses import dataclass
from typing import ClassVar

import pytest

from sdelens.errors import BrokenPlugin, Unreachable, UsageError
from sdelens.registering import analyzer as register
from sdelens.report import Finding
from sdelens.runs import run_analyzers as module
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import analyze, run_analyzers
from sdelens.runs.run_report import report_of
from sdelens.runs.saved_findings import FAILURES, failures_of, findings_of
from sdelens.store import write_json
from tests.core.runs.small_analyzers import Counting, Failing


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
    monkeypatch.setattr(module, "plugins", lambda _: dict.fromkeys(("odd", "counting")))
    findings, left_out = analyze(run)
    assert [finding.headline for finding in findings] == ["2 views"]
    assert list(left_out) == ["odd"]
    with pytest.raises(BrokenPlugin, match=f"the analyzer 'odd' of .* {said}"):
        analyze(run, ["odd"])


def test_the_report_says_why_a_named_analyzer_failed_until_it_is_asked_again(run, installed):
    @register("moody")
    @dataclass(frozen=True)
    class Moody(Counting):
        calm: bool = False

        def analyze(self, study, *, seed):
            if not self.calm:
                raise ZeroDivisionError("no reason")
            return super().analyze(study, seed=seed)

    with pytest.raises(BrokenPlugin):
        analyze(run, ["moody"])
    analyze(run, ["counting"])
    [(label, reason)] = [one for one in report_of(run).failures.items() if "moody" in one[0]]
    assert reason.startswith("ZeroDivisionError: no reason")
    analyze(run, ["moody"], settings={"moody": {"calm": True}})
    assert label not in report_of(run).failures


def test_a_reason_without_an_analyzer_is_kept(run, installed):
    write_json(run.folder / FAILURES, {"": "no model"})
    analyze(run, ["counting"])
    assert failures_of(run) == {"": "no model"}


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


@dataclass(frozen=True)
class Full(Counting):
    """Writes where no room is."""

    def analyze(self, study, *, seed):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("names", [(), ("full",)])
def test_a_full_disk_is_no_fault_of_the_analyzer(run, installed, monkeypatch, names):
    register("full")(Full)
    monkeypatch.setattr(module, "plugins", lambda _: dict.fromkeys(("full",)))
    with pytest.raises(OSError, match="No space left"):
        analyze(run, names)
