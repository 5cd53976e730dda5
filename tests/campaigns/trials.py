"""Trials of a campaign, and their counts."""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.campaigns import faults
from tests.campaigns.children import warm


@dataclass(frozen=True)
class Trial:
    """One attempt to break something."""

    kind: str
    """The row of the table."""
    done: str
    problem: str | None
    """What did not hold."""


def counts(trials, minutes=math.inf):
    """How many trials of each kind were made and held within some minutes.

    Failures are printed to stderr.
    """
    end = time.monotonic() + 60 * minutes
    rows = defaultdict(lambda: {"tried": 0, "held": 0})
    for trial in trials:
        rows[trial.kind]["tried"] += 1
        rows[trial.kind]["held"] += trial.problem is None
        if trial.problem:
            print(f"{trial.kind}, {trial.done}: {trial.problem}", file=sys.stderr, flush=True)
        if time.monotonic() > end:
            break
    return dict(rows)


def main(campaign, usual):
    """The command of a campaign: prints its counts, and exits with 1 if anything did not hold."""
    faults.preload()
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.splitlines()[0])
    parser.add_argument("number", type=int, nargs="?", default=usual)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="campaign-") as place:
        folder = Path(os.path.realpath(place))
        warm(folder / "warm")
        rows = counts(campaign(chosen.number, chosen.seed, folder))
    print(json.dumps(rows, indent=1))
    sys.exit(any(row["held"] < row["tried"] for row in rows.values()))
