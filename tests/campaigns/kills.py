"""Kills commands at random moments, and a fit before each file event; then continues them.

python -m tests.campaigns.kills 200 --seed 0
"""

from random import Random

from tests.campaigns import faults
from tests.campaigns.children import Child, run
from tests.campaigns.scenarios import COMMANDS, scenarios
from tests.campaigns.trials import Trial, main


def campaign(number, seed, folder, *, events=None, names=COMMANDS, layers="all"):
    """Yield so many kills at random moments, and those before so many file events of a fit.

    The default is all of them, in random order.
    """
    random = Random(seed)
    found = list(scenarios(folder, names, layers))
    for k in range(number):
        scenario = found[k % len(found)]
        scenario.prepare()
        after = random.uniform(0, scenario.seconds)
        Child(scenario.work, scenario.place).kill(after)
        yield Trial(
            f"SIGKILL at a random moment of `{scenario.name}`",
            f"after {after:.3f} s",
            scenario.resumed(),
        )
    if faults.available():
        [fit] = scenarios(folder, ["fit"], "1-2" if layers == "all" else layers)
        every = range(1, fit.calls + 1)
        for at in random.sample(every, len(every) if events is None else events):
            yield killed_before(fit, at)


def killed_before(scenario, at):
    """A kill before one system call that changes a file."""
    scenario.prepare()
    ended = run(scenario.work, scenario.place, fault=(at, faults.KILLED))
    problem = scenario.resumed() if ended.code == -9 else f"not killed: {ended}"
    return Trial(f"SIGKILL before a file event of `{scenario.name}`", f"event {at}", problem)


if __name__ == "__main__":
    main(campaign, 200)
