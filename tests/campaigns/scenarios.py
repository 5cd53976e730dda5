"""Commands that write a run, what they start from, and what they must leave."""

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from sdelens.digest import digest
from tests.campaigns.children import run

FIT = ("fit", "--probe", "linear", "--documents", 12, "--length", 12, "-q")
COMMANDS = ("fit", "analyze", "branch", "report", "save")
ANALYSES = ("losses", "drift_share")
KNOWN = {}
"""Scenarios by folder, name and layers."""


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

    @property
    def continued(self):
        """The words of the command that continues it; none for a function."""
        return [] if callable(self.again) else [*map(str, self.again)]

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
    """Those of these names, each run once without a fault, and kept for other campaigns.

    `analyze` and `branch` begin with older findings, which they replace.
    """
    for name in names:
        if (folder, name, layers) not in KNOWN:
            KNOWN[folder, name, layers] = scenario(folder, name, layers).undisturbed()
        yield KNOWN[folder, name, layers]


def scenario(folder, name, layers):
    """A scenario, and the run that it begins with."""
    place = folder / "trial"
    out, saved = place / "run", place / "saved"
    analyze = ("analyze", out, *ANALYSES, "-q")

    def save():
        from sdelens import load

        load(out).save(saved, states=True, overwrite=True)

    fit = (*FIT, "--layer", layers, "--out", out)
    first = (*FIT, "--layer", "1-2" if layers == "all" else layers, "--out", out)
    older = (first, (*analyze, "--set", "drift_share.documents=2"))
    start, work, again = {
        "fit": ((), fit, (*fit, "--resume")),
        "analyze": (older, analyze, (*analyze, "--resume")),
        "branch": (older, ("branch", out, "-q"), ("branch", out, "-q")),
        "report": ((first, analyze), ("report", out, "-q"), ("report", out, "-q")),
        "save": ((first, analyze), save, save),
    }[name]
    return Scenario(name, started(folder, start), place, work, again)


def started(folder, commands):
    """A folder that some commands have left, made once from that of all but the last."""
    target = folder / f"start-{digest(list(map(str, commands)))[:8]}"
    place = folder / "trial"
    if not target.exists():
        before = started(folder, commands[:-1]) if commands else None
        shutil.rmtree(place, ignore_errors=True)
        if before:
            shutil.copytree(before, place)
            ended = run(commands[-1], place)
            assert ended.code == 0, ended
        (place / "cwd").mkdir(parents=True, exist_ok=True)
        shutil.copytree(place, target)
    return target


def content(place):
    """The bytes of all files of a trial, and manifests without durations."""
    files = (f for f in sorted(place.rglob("*")) if f.is_file() or f.is_symlink())
    return {str(f.relative_to(place)): bytes_of(f) for f in files}


def bytes_of(file):
    """The bytes of a file that are equal in equal runs."""
    if file.name != "manifest.json":
        return file.read_bytes()
    manifest = json.loads(file.read_text())
    # a fit that was killed before it had a manifest is begun by the command that continues it
    argv = [word for word in manifest["argv"] if word != "--resume"]
    # what was finished just before a kill has no duration
    return json.dumps({k: v for k, v in manifest.items() if k != "timings"} | {"argv": argv})


def orphans(place):
    """What a job should have removed: half-written files, locks, temporary folders."""
    hidden = [f for f in place.rglob(".*") if "site-packages" not in str(f)]
    # torch makes a folder for its compiler when a new process imports it, and keeps it
    temporary = [f for f in (place / "tmp").glob("*") if not f.name.startswith("torchinductor_")]
    return sorted(str(f.relative_to(place)) for f in (*hidden, *temporary))
