"""Commands in forks of this process, which has imported the heavy libraries already."""

import atexit
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import weakref
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns import faults

SECONDS = 10
"""A command that takes longer is said to hang."""
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MAIN = "from sdelens_cli.main import main; main()"
NOWHERE = ("/dev/", "/proc/")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.rename": 2, "os.remove": 1, "os.mkdir": 1, "os.rmdir": 1, "os.symlink": 2}
"""Audit events that change files, and how many of their arguments are paths."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """The exit code; -9 if it was killed."""
    out: str
    err: str
    seconds: float
    late: bool
    """Whether it took over `SECONDS` of a processor, or was not waited for any longer."""
    calls: int = 0
    """System calls that changed files, if they are counted."""
    outside: tuple[str, ...] = ()
    """Paths outside the folder of the trial that were written to."""

    @property
    def problem(self):
        """What no command may do; None if it did nothing of that kind."""
        if "Traceback" in self.err or self.code not in (-9, 0, *range(2, 8)):
            return f"exit {self.code}: {self.err[-1500:]}"
        if self.late:
            return f"took {self.seconds:.0f} s"
        if self.outside:
            return f"wrote outside: {self.outside}"
        return None


class Child:
    """A command that runs in a folder with a cache and temporary folder of its own."""

    def __init__(self, work, place, *, fault=None, patience=30 * SECONDS, cold=False):
        self.place, self.start, self.patience = place, time.monotonic(), patience
        for name in ("cwd", "tmp", "cache"):
            (place / name).mkdir(parents=True, exist_ok=True)
        read, write = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(read)
            in_child(work, place, write, fault, cold=cold)
        os.close(write)
        self.pipe = read
        self.said = {n: place.with_name(f"{place.name}.{self.pid}.{n}") for n in ("out", "err")}

    def kill(self, after):
        """Kill it after so many seconds, unless it has ended."""
        time.sleep(max(0, self.start + after - time.monotonic()))
        os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def signal(self, times):
        """Send signals, given as seconds after its handlers are set and their numbers."""
        status = Path(f"/proc/{self.pid}/status")
        while not handles(status.read_text()):
            time.sleep(0.001)
        start = time.monotonic()
        for after, number in times:
            time.sleep(max(0, start + after - time.monotonic()))
            os.kill(self.pid, number)  # until it is waited for, its number is not used again
        return self.wait()

    def wait(self):
        """How it ended."""
        limit, late = self.start + self.patience, False
        while not (found := os.wait4(self.pid, os.WNOHANG))[0]:
            if late := time.monotonic() > limit:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.003)
        with os.fdopen(self.pipe, "rb") as pipe:
            noted = json.loads(pipe.read() or b"{}")
        for file in self.said.values():
            file.touch()  # if it was killed before it had opened them
        said = {n: f.read_text(errors="replace") for n, f in self.said.items()}
        for file in self.said.values():
            file.unlink()
        code = os.waitstatus_to_exitcode(found[1])
        used = found[2].ru_utime + found[2].ru_stime
        seconds = time.monotonic() - self.start
        return Ended(code, **said, seconds=seconds, late=late or used > SECONDS, **noted)


def warm(place):
    """Import what commands import by running some in this process."""
    from tests.campaigns.mutations import command

    for name in ("cwd", "tmp", "cache"):
        (place / name).mkdir(parents=True, exist_ok=True)
    before = os.environ.get("SDELENS_CACHE")
    os.environ["SDELENS_CACHE"] = str(place / "cache")
    fit = ("fit", "--probe", "linear", "--documents", 12, "--length", 12, "--layer", "1", "-q")
    with redirect_stdout(io.StringIO()):
        command(*fit, "--out", place / "run")
        for arguments in (("analyze", "losses", "drift_share"), ("branch",), ("report",)):
            command(arguments[0], place / "run", *arguments[1:], "-q")
    os.environ.pop("SDELENS_CACHE")
    if before is not None:
        os.environ["SDELENS_CACHE"] = before
    shutil.rmtree(place)


def run(work, place, **options):
    """Run a command to its end."""
    return Child(work, place, **options).wait()


def handles(status):
    """Whether a process has ended, or has handlers of all signals, from its status in /proc."""
    rows = dict(line.split(":", 1) for line in status.splitlines())
    caught = int(rows.get("SigCgt", "0"), 16)
    return "Z" in rows["State"] or all(caught >> number - 1 & 1 for number in STOPS)


def in_child(work, place, pipe, fault, *, cold):
    """Do the work and leave, without ever returning."""
    try:
        forget_exits()
        for number in STOPS:  # a background job of a shell ignores some
            signal.signal(number, signal.SIG_DFL)
        for number, name in ((1, "out"), (2, "err")):
            said = place.with_name(f"{place.name}.{os.getpid()}.{name}")
            os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", closefd=False)
        os.chdir(place / "cwd")
        os.environ |= {"SDELENS_CACHE": str(place / "cache"), "TMPDIR": str(place / "tmp")}
        if cold:
            os.execv(sys.executable, [sys.executable, "-c", MAIN, *map(str, work)])
        random.seed(0)  # a fork is seeded anew
        # without Python's own search for a folder, which writes and removes a file
        tempfile.tempdir = str(place / "tmp")
        atexit.register(note, pipe, watched(place))
        if faults.available():
            faults.arm(place, *(fault or ()))
        end(work)
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(1)


def note(pipe, outside):
    """Tell the parent, after all else, what was done."""
    calls = faults.counted() if faults.available() else 0
    os.write(pipe, json.dumps({"calls": calls, "outside": sorted(outside)[:5]}).encode())


def forget_exits():
    """Leave what the parent does at its exit to the parent."""
    atexit._clear()
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False


def end(work):
    """Run a function, or the command with these arguments, and end the process as it does."""
    from sdelens.containment.exits import leave
    from sdelens_cli.main import main

    if not callable(work):
        sys.argv = ["sdelens", *map(str, work)]
        main()
    code = 0
    try:
        work()
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        # `save` is no command: its errors are the sentences that a command would print
        code = getattr(error, "exit_code", 1)
        print(*([error] if code != 1 else traceback.format_exception(error)), file=sys.stderr)
    leave(code)


def watched(place):
    """The paths outside a folder that this process changes from now on."""
    found = set()

    def hook(event, arguments):
        if event == "open" and not (arguments[2] or 0) & WRITES:
            return
        paths = arguments[: 1 if event == "open" else CHANGES.get(event, 0)]
        for path in paths:
            if isinstance(path, str | bytes | os.PathLike):
                full = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  links are not followed
                if not full.is_relative_to(place) and not str(full).startswith(NOWHERE):
                    found.add(f"{event} {full}")

    sys.addaudithook(hook)
    return found
