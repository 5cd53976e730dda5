"""Lets every system call that changes files fail once, then continues the command.

python -m tests.campaigns.system_calls 1000 --seed 0
"""

import errno
import sys
from random import Random

from tests.campaigns import faults
from tests.campaigns.children import run
from tests.campaigns.scenarios import COMMANDS, scenarios
from tests.campaigns.trials import Trial, main

ERRORS = ("ENOSPC", "EIO", "EROFS", "EMFILE")


def campaign(number, seed, folder, *, names=COMMANDS, layers="1-2"):
    """Yield so many faults: of every call with one error after another, in random order."""
    if not faults.available():
        print("no C compiler: system calls are not made to fail", file=sys.stderr)
        return
    found = list(scenarios(folder, names, layers))
    every = [(s, at, name) for s in found for at in range(1, s.calls + 1) for name in ERRORS]
    Random(seed).shuffle(every)
    for scenario, at, name in every[:number]:
        scenario.prepare()
        ended = run(scenario.work, scenario.place, fault=(at, getattr(errno, name)))
        problem = ended.problem or scenario.resumed()
        kind = f"a writing system call of `{scenario.name}` fails"
        yield Trial(kind, f"{name} in call {at} of {scenario.calls}", problem)


if __name__ == "__main__":
    main(campaign, 1000)
