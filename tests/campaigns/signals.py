"""Sends one to three signals at random moments, then continues the command.

python -m tests.campaigns.signals 60 --seed 0
"""

import json
import shlex
import signal
import sys
from pathlib import Path
from random import Random

from tests.campaigns.children import STOPS, Child, run
from tests.campaigns.scenarios import COMMANDS, content, scenarios
from tests.campaigns.trials import Trial, main


def campaign(number, seed, folder, *, names=COMMANDS, layers="all", cold=True):
    """Yield so many interrupts, every other one of a new process, which imports its libraries."""
    if not Path("/proc/self/status").exists():
        print("no /proc: it is not known when signals are handled", file=sys.stderr)
        return
    random = Random(seed)
    found = list(scenarios(folder, names, layers))
    fresh = {s.name: seconds_of_new_process(s) for s in found if cold and not callable(s.work)}
    for k in range(number):
        scenario, anew = found[k % len(found)], k // len(found) % 2 == 1
        anew = anew and scenario.name in fresh
        seconds = fresh[scenario.name] if anew else scenario.seconds
        # a function has no handlers but that of Python
        numbers = STOPS if not callable(scenario.work) else (signal.SIGINT,)
        first = random.uniform(0, seconds)
        times = [(first, random.choice(numbers))]
        for _ in range(random.randrange(3) if len(numbers) > 1 else 0):
            times.append((times[-1][0] + random.choice((0, 0.01, 0.3)), random.choice(numbers)))
        scenario.prepare()
        ended = Child(scenario.work, scenario.place, cold=anew).signal(times)
        kept = finished(scenario) if "--resume" in scenario.continued else {}
        problem = judged(ended, scenario) or scenario.resumed()
        if not problem and (lost := kept.items() - finished(scenario).items()):
            problem = f"repeated {sorted(lost)}"
        where = "a new process of " if anew else ""
        done = ", ".join(f"{signal.Signals(n).name} after {s:.3f} s" for s, n in times)
        yield Trial(f"signals at random moments of {where}`{scenario.name}`", done, problem)


def seconds_of_new_process(scenario):
    """How long a command takes in a process that has imported nothing."""
    scenario.prepare()
    return run(scenario.work, scenario.place, cold=True).seconds


def judged(ended, scenario):
    """What is wrong with the end of an interrupted command, and with the run that it leaves."""
    lines = [line for line in ended.err.splitlines() if line.startswith("Interrupted")]
    states = {f: json.loads(f.read_text())["state"] for f in scenario.place.rglob("manifest.json")}
    if "Traceback" in ended.err or "Exception ignored" in ended.err or ended.outside:
        return f"exit {ended.code}, {ended.outside}: {ended.err[-1500:]}"
    if "running" in states.values():
        return f"exit {ended.code}, states {states}: {ended.err}"
    if ended.code == 0 and not lines:  # it was faster
        return None
    wanted = [] if callable(scenario.work) else [sorted(["sdelens", *scenario.continued])]
    said = [sorted(shlex.split(line.partition("with: ")[2])) for line in lines]
    right = ended.code == 130 and said == wanted
    return None if right else f"exit {ended.code}, {lines}: {ended.err[-1500:]}"


def finished(scenario):
    """When the files of fits and findings were written that are finished, and no older ones."""
    files = content(scenario.place)
    done = [f for f in files if f.endswith("/DONE") and files[f] == scenario.right.get(f)]
    folders = [(scenario.place / file).parent for file in done]
    return {str(f): f.stat().st_mtime_ns for one in folders for f in one.iterdir() if f.is_file()}


if __name__ == "__main__":
    main(campaign, 60)
