"""Commands that write a run, what they start from, and what they must leave."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from tests.campaigns.children import run

FIT = ("fit", "--probe", "linear", "--documents", 12, "--length", 12, "-q")
COMMANDS = ("fit", "analyze", "branch", "report", "save")
ANALYSES = ("losses", "drift_share")
TIMES = ("timings", "created", "process", "argv")
"""Items of a manifest that differ between equal runs."""


@dataclass
class Scenario:
    """A command in a folder `place`, which begins as a copy of `start`."""

    name: str
    start: Path
    place: Path
    work: object
    again: object
    """What continues it after a kill."""
    right: dict = field(default_factory=dict)
    seconds: float = 0
    calls: int = 0

    def prepare(self):
        """Begin anew."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.start, self.place)

    def undisturbed(self):
        """Run it once without a fault, and keep what it leaves; returns the scenario."""
        self.prepare()
        ended = run(self.work, self.place)
        assert ended.code == 0, ended
        assert ended.problem is None, ended
        self.right, self.seconds, self.calls = content(self.place), ended.seconds, ended.calls
        assert not orphans(self.place), orphans(self.place)
        return self

    def resumed(self):
        """Continue after a fault; what is wrong then, or None."""
        ended = run(self.again, self.place)
        if ended.code or ended.problem:
            return f"continued: exit {ended.code}: {ended.problem or ended.err[-500:]}"
        if left := orphans(self.place):
            return f"left {left}"
        now = content(self.place)
        differing = [n for n in {*now, *self.right} if now.get(n) != self.right.get(n)]
        return f"other bytes in {sorted(differing)}" if differing else None


def scenarios(folder, names=COMMANDS, layers="all"):
    """Those of these names, each run once without a fault."""
    empty, fitted, analyzed = (folder / n for n in ("empty", "fitted", "analyzed"))
    place = folder / "trial"
    out, saved = place / "run", place / "saved"
    for start in (empty, place):
        (start / "cwd").mkdir(parents=True, exist_ok=True)
    two = (*FIT, "--layer", "1-2", "--out", out)
    for target, work in ((fitted, two), (analyzed, ("analyze", out, *ANALYSES, "-q"))):
        ended = run(work, place)
        assert ended.code == 0, ended
        shutil.copytree(place, target)

    def save():
        from sdelens import load

        load(out).save(saved, states=True, overwrite=True)

    fit = (*FIT, "--layer", layers, "--out", out)
    analyze = ("analyze", out, *ANALYSES, "-q")
    known = {
        "fit": (empty, fit, (*fit, "--resume")),
        "analyze": (fitted, analyze, (*analyze, "--resume")),
        "branch": (fitted, ("branch", out, "-q"), ("branch", out, "-q")),
        "report": (analyzed, ("report", out, "-q"), ("report", out, "-q")),
        "save": (analyzed, save, save),
    }
    for name in names:
        start, work, again = known[name]
        yield Scenario(name, start, place, work, again).undisturbed()


def content(place):
    """The bytes of all files of a trial, and manifests without times."""
    files = (f for f in sorted(place.rglob("*")) if f.is_file() or f.is_symlink())
    return {str(f.relative_to(place)): bytes_of(f) for f in files}


def bytes_of(file):
    """The bytes of a file that are equal in equal runs."""
    if file.name != "manifest.json":
        return file.read_bytes()
    manifest = json.loads(file.read_text())
    return json.dumps({k: v for k, v in manifest.items() if k not in TIMES}, sort_keys=True)


def orphans(place):
    """What a job should have removed: half-written files, locks, temporary folders."""
    hidden = [f for f in place.rglob(".*") if "site-packages" not in str(f)]
    return sorted(str(f.relative_to(place)) for f in (*hidden, *(place / "tmp").glob("*")))
