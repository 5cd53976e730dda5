"""Starts two, three and eight processes on one cache, and on one run.

python -m tests.campaigns.processes 30 --seed 0
"""

import shutil
from random import Random
from time import sleep

from tests.campaigns.children import Child, run
from tests.campaigns.scenarios import FIT, content, orphans
from tests.campaigns.trials import Trial, main

SIZES = (2, 3, 8)
ANSWERS = ("is being written by", "contains an unfinished run", "is not empty and not a run")


def campaign(number, seed, folder):
    """Yield so many groups of processes."""
    random, place, right = Random(seed), folder / "trial", folder / "right"
    fit = (*FIT, "--layer", "1-2", "--out")
    ended = run((*fit, right / "run0"), right)
    assert ended.code == 0, ended
    right_files = of_run(content(right), right / "run0")
    for k in range(number):
        size, shared = SIZES[k % 3], ("cache", "run")[k // 3 % 2]
        shutil.rmtree(place, ignore_errors=True)
        children = []
        for one in range(size):
            out = place / f"run{one if shared == 'cache' else 0}"
            children.append(Child((*fit, out), place, patience=600))
            sleep(random.choice((0, 0, 0.05, 0.3)))
        ended = [child.wait() for child in children]
        problem = judged(ended, shared, place, right_files)
        yield Trial(f"{size} processes on one {shared}", str(k), problem)


def judged(ended, shared, place, right):
    """What is wrong with what processes have left."""
    for one in ended:
        if one.problem:
            return one.problem
        refused = one.code == 2 and shared == "run" and any(a in one.err for a in ANSWERS)
        if one.code and not refused:
            return f"exit {one.code}: {one.err}"
    if all(one.code for one in ended):
        return "no process finished the run"
    found = content(place)
    for name in {file.split("/")[0] for file in found if file.startswith("run")}:
        if of_run(found, place / name) != right:
            return f"other bytes in {name}"
    return f"left {orphans(place)}" if orphans(place) else None


def of_run(files, run):
    """The files of one of the runs, and manifests without its name, which is an argument."""
    own = {k.partition("/")[2]: v for k, v in files.items() if k.startswith(f"{run.name}/")}
    return {k: v.replace(str(run), "RUN") if isinstance(v, str) else v for k, v in own.items()}


if __name__ == "__main__":
    main(campaign, 30)
