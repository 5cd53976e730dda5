"""What is rewritten is, after a kill or a failure, as before, as after, or absent."""

import os
import shutil
import signal
import sys
from itertools import count

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.report import Figure, Finding, Layer, Panel
from sdelens.runs.folder import holds_run
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import write_finding
from sdelens.runs.saved_findings import findings_of
from sdelens.runs.writer import sole_writer
from sdelens.states.recording import INDEX, Recording
from sdelens.store import read_json, write_json

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir"}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def copy(run, tmp_path):
    """A copy of a finished run that a test may change."""
    return Run(shutil.copytree(run.folder, tmp_path / "run"))


def killed_before(change, action):
    """Whether a fork was killed before so manieth change of a file; else it did the action."""
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    seen = count()

    def watch(event, _):
        if event in CHANGES and next(seen) == change:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    try:
        action()
    finally:
        os._exit(0)


def bytes_in(folder):
    return {f.relative_to(folder): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def finding(number, figures=()):
    array = {"x": torch.full((3,), float(number))}
    return Finding("L01", f"{number}", "r", arrays=array, analyzer="mine", figures=figures)


def swept(folder):
    with sole_writer(folder):
        pass
    return not list(folder.rglob(".*"))


@needs_fork
def test_a_kill_leaves_the_old_finding_the_new_one_or_none(copy):
    seen = set()
    for change in count():
        write_finding(copy, finding(1), "one")
        killed = killed_before(change, lambda: write_finding(copy, finding(2), "two"))
        left = [(f.headline, float(f.arrays["x"][0])) for f in findings_of(copy)]
        assert left in ([], [("1", 1.0)], [("2", 2.0)])
        assert swept(copy.folder)
        seen.add(len(left) and left[0][0])
        if not killed:
            break
    assert seen == {0, "1", "2"}
    assert change > 5


def test_a_finding_whose_figures_fail_names_its_analyzer_and_leaves_the_old_one(copy):
    write_finding(copy, finding(1), "one")
    torn = Layer("line", {"x": torch.zeros(2), "y": torch.zeros(3)})
    figure = Figure("f", (Panel("x", "y", (torn,)),), "c")
    with pytest.raises(sdelens.errors.BrokenPlugin, match="the finding of the analyzer mine L01"):
        write_finding(copy, finding(2, (figure,)), "two")
    assert [f.headline for f in findings_of(copy)] == ["1"]
    assert swept(copy.folder)


def test_figures_that_a_finding_no_longer_has_are_gone(copy):
    line = Layer("line", {"x": torch.arange(3.0), "y": torch.arange(3.0)})
    write_finding(copy, finding(1, (Figure("f", (Panel("x", "y", (line,)),), "c"),)), "one")
    place = copy.folder / "analysis" / "mine" / "L01"
    assert len(list(place.glob("figures/*"))) == 3
    write_finding(copy, finding(2), "two")
    assert list(place.glob("figures/*")) == []


DAMAGED = (
    "manifest.json",
    "config.json",
    "documents.safetensors",
    "fits/L00/metrics.json",
    "fits/L01/train.jsonl",
    "fits/L01/sde.safetensors",
    "analysis/mine/L01/arrays.safetensors",
)


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_run_is_not_saved_and_replaces_nothing(copy, run, tmp_path, name):
    target = shutil.copytree(run.folder, tmp_path / "target")
    before = bytes_in(target)
    write_finding(copy, finding(1), "one")
    study = sdelens.load(copy.folder)  # before the damage
    file = copy.folder / name
    file.write_bytes(file.read_bytes()[:-9])
    for place, overwrite in ((target, True), (tmp_path / "new", False)):
        with pytest.raises(UsageError, match=file.name):
            study.save(place, overwrite=overwrite, states=False)
    assert bytes_in(target) == before
    assert not (tmp_path / "new").exists()


def test_saving_over_a_run_replaces_its_parts_and_leaves_notes(copy, run, tmp_path):
    target = shutil.copytree(run.folder, tmp_path / "target")
    shutil.rmtree(target / "fits" / "L00")
    (target / "report.html").write_text("old")
    (target / "notes.txt").write_text("mine")
    sdelens.load(copy.folder).save(target, overwrite=True)
    assert len(sdelens.load(target).views) == 2
    assert (target / "notes.txt").read_text() == "mine"
    assert not (target / "report.html").exists()
    assert not list(target.rglob(".*"))


@needs_fork
def test_a_killed_save_leaves_the_old_run_the_new_one_or_none(copy, run, tmp_path):
    write_finding(copy, finding(2), "two")
    source, target, seen = sdelens.load(copy.folder), tmp_path / "target", set()
    for change in count(step=3):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(run.folder, target)
        killed = killed_before(change, lambda: source.save(target, overwrite=True))
        seen.add(len(findings_of(Run(target))) if holds_run(target) else None)
        if holds_run(target):
            assert len(sdelens.load(target).views) == 2
        if not killed:
            break
    assert seen == {0, 1, None}
    source.save(target, overwrite=True)
    assert not list(target.rglob(".*"))


def test_damaged_states_are_not_saved(copy, tmp_path):
    place = sdelens.load(copy.folder).save(tmp_path / "with_states", states=True)
    study = sdelens.load(place)
    assert study.run.recording.folder == place / "states"
    shard = next(place.glob("states/shard-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(UsageError, match="its checksum differs"):
        study.save(tmp_path / "again", states=True)
    assert not (tmp_path / "again").exists()


def test_states_saved_by_an_earlier_version_are_recorded_again_or_refused(copy, tmp_path, capsys):
    place = sdelens.load(copy.folder).save(tmp_path / "with_states", states=True)
    index = read_json(place / "states" / INDEX)
    whole = {k: v for k, v in index.items() if k not in ("version", "checksum")}
    write_json(place / "states" / INDEX, whole)
    said = f"{place / 'states'} was made by an earlier version of sdelens: record the states again"
    assert Run(place).recording.shards == len(index["shards"])
    assert said in capsys.readouterr().err
    write_json(place / "states" / INDEX, whole | {"version": 99})
    with pytest.raises(UsageError, match="was made by a later version"):
        Recording.load(place / "states")
