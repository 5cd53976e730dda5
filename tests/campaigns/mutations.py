"""Damages files of a finished run and opens it: the right result, or one sentence and exit 2 or 3.

python -m tests.campaigns.mutations 5000 --seed 0
"""

import argparse
import io
import json
import shutil
import signal
import sys
import tempfile
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.campaigns.damage import damage
from tests.small import small_model

UNSEALED = ("manifest.json", "left_out.json")
"""Files that have parts that nothing can contradict, such as the version of Python."""
LAST = ("DONE", "finding.json")
"""Files that are written last: a fit or a finding without one is unfinished and is not read."""
SECONDS = 10
WAIT = 6 * SECONDS


@dataclass(frozen=True)
class Failure:
    """A mutation that did not have one of the allowed outcomes."""

    seed: int
    done: str
    reader: str
    outcome: str


def finished_run(folder):
    """A run with every artefact: an ensemble, a complement, annotations, findings, reasons."""
    from sdelens.runs.engine import execute
    from sdelens.runs.job import Job
    from sdelens.runs.run_analyzers import analyze
    from sdelens.runs.saved_findings import FAILURES
    from sdelens.store import write_json

    job = Job(
        model=str(small_model(folder / "model")),
        layers="0,1",
        source_settings={"documents_wanted": 20, "length": 12},
        probe_settings={"epochs": 2, "least_steps": 2, "width": 8},
        basis="pca:6",
        ensemble=2,
        cache=False,
    )
    run = execute(job, folder / "runs" / "run")
    analyze(run, ["losses"])
    write_json(run.folder / FAILURES, {"readout": "no model"})
    return run.folder


def campaign(run, number, seed, folder):
    """Damage copies of a run so many times; returns the failures."""
    return [failure for failure in damages(run, number, seed, folder) if failure]


def damages(run, number, seed, folder):
    """Damage copies of a run; yields a `Failure`, or None where the outcome is right."""
    files = sorted(f.relative_to(run) for f in run.rglob("*") if kept(f))
    whole = folder / "whole" / run.name
    shutil.copytree(run, whole)
    right = {name: outcome(read, whole, folder) for name, read in READERS.items()}
    wrong = {name: (code, said) for name, (code, _, said) in right.items() if code}
    assert not wrong, wrong
    before = listed(folder)
    for k in range(seed, seed + number):
        random = Random(k)
        copy = folder / "damaged" / run.name
        shutil.copytree(run, copy)
        file = random.choice(files)
        done = damage(copy / file, random)
        reader = random.choice(sorted(READERS))
        code, result, said = outcome(READERS[reader], copy, folder)
        absent = file.name in LAST and not (copy / file).is_file()
        free = file.name in UNSEALED or absent
        wrong = problem(code, result == right[reader][1] or free, said)
        shutil.rmtree(folder / "damaged")
        if listed(folder) != before:
            wrong = f"wrote outside: {listed(folder) ^ before}"
            before = listed(folder)
        yield Failure(k, f"{file.parent}: {done}", reader, wrong) if wrong else None


def kept(file):
    """Whether a file is an artefact that is read again."""
    return file.is_file() and (
        file.name == "DONE" or file.suffix in (".json", ".jsonl", ".safetensors")
    )


def listed(folder):
    """All files outside the damaged run and its outputs."""
    return {
        str(f)
        for f in folder.rglob("*")
        if not {"damaged", "out"} & {*f.relative_to(folder).parts[:1]}
    }


def problem(code, right, said):
    """What is wrong with an outcome; None if nothing is."""
    if "Traceback" in said or code not in (0, 2, 3):
        return f"exit {code}: {said[-2000:]}"
    if code == 0 and not right:
        return "exit 0 with another result"
    if code and len(said) > 1500:
        return f"a long sentence: {said[:300]}"
    if "\x1b" in said:
        return f"an escape sequence: {said!a}"
    return None


def outcome(read, run, folder):
    """Exit code, result and what was printed to stderr."""
    from sdelens.errors import SdelensError

    shutil.rmtree(folder / "out", ignore_errors=True)
    out, err, result, code = io.StringIO(), io.StringIO(), None, 0
    try:
        with redirect_stdout(out), redirect_stderr(err), limited():
            result = read(run, folder / "out")
    except SystemExit as stop:
        code = stop.code
    except SdelensError as error:
        code = error.exit_code
        print(error, file=err)
    except BaseException:
        code = 1
        print(traceback.format_exc(), file=err)
    return code, result, err.getvalue()


@contextmanager
def limited():
    """Interrupt what takes longer than `SECONDS` of a processor, or `WAIT` seconds of waiting."""

    def late(*_):
        raise TimeoutError(f"took over {SECONDS} s")

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, SECONDS),
        signal.SIGALRM: (signal.ITIMER_REAL, WAIT),
    }
    before = {number: signal.signal(number, late) for number in timers}
    for timer, seconds in timers.values():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def command(*arguments):
    """Run the command in this process."""
    from sdelens_cli.main import command as run

    before, sys.argv = sys.argv, ["sdelens", *map(str, arguments)]
    try:
        if code := run():
            raise SystemExit(code)
    finally:
        sys.argv = before


def by_report(run, out):
    """`sdelens report`; the page without the name of the folder."""
    command("report", run)
    return (run / "report.html").read_text().replace(str(run), "")


def by_analyze(run, out):
    """`sdelens analyze`: the findings, without the digest of the manifest."""
    command("analyze", run, "losses")
    return [f.read_bytes() for f in sorted(run.glob("analysis/losses/*/finding.json"))]


def by_compare(run, out):
    """`sdelens compare` with the whole run."""
    other = run.parents[1] / "whole" / run.name
    twin = out / "second"
    shutil.copytree(other, twin)
    command("compare", run, twin, "--out", out / "page")
    return (out / "page" / "report.html").read_text().replace("/damaged/", "/whole/")


def by_save(run, out):
    """`study.save`: the artefacts of the copy below its folder, without digests."""
    from sdelens import load

    saved = load(run).save(out / "saved")
    names = sorted(f.relative_to(saved) for f in saved.rglob("*") if kept(f))
    chosen = (n for n in names if len(n.parts) > 1 and n.name not in (*UNSEALED, "DONE"))
    return [(name, content(saved / name)) for name in chosen]


def content(file):
    """A JSON value, or the bytes of another file."""
    return json.loads(file.read_text()) if file.suffix == ".json" else file.read_bytes()


def by_load(run, out):
    """`sdelens.load`: drift and scores of every fit, and the documents."""
    import torch

    from sdelens import load

    study = load(run)
    found = [tuple(study.documents), study.run.split]
    for view, viewed in study.views.items():
        fitted = viewed.fitted
        x = torch.ones(2, len(fitted.basis.encoder))
        drifts = [fitted.drift(1.0, x).tolist(), fitted.drift_stderr(1.0, x).tolist()]
        found.append((str(view), drifts, json.dumps(fitted.record.scores), fitted.record.history))
    return found


READERS = {
    "report": by_report,
    "analyze": by_analyze,
    "compare": by_compare,
    "save": by_save,
    "load": by_load,
}


def main():
    """Print the failures, and exit with 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number", type=int, nargs="?", default=5000)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sdelens-") as place:
        run = finished_run(Path(place))
        failures = campaign(run, chosen.number, chosen.seed, Path(place) / "campaign")
    for failure in failures:
        print(f"{failure.seed} {failure.reader}, {failure.done}:\n    {failure.outcome}")
    print(f"{chosen.number} mutations, {len(failures)} failures")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
