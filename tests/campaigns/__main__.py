"""Runs all campaigns, and prints how many trials of each kind were made and held.

python -m tests.campaigns --quick            a fixed part of them, in less than a minute
python -m tests.campaigns --write            all of them, and docs/reliability.json and .md
python -m tests.campaigns --write --minutes 5    as many as fit in five minutes each
python -m tests.campaigns --write --trials 60 signals hostile    two of them, so many trials each
"""

import argparse
import json
import math
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import jinja2

from tests.campaigns import (
    extremes,
    faults,
    hostile,
    kills,
    mutations,
    options,
    processes,
    signals,
    system_calls,
    texts,
)
from tests.campaigns.children import warm
from tests.campaigns.trials import Trial, counts

DOCS = Path(__file__).parents[2] / "docs"
DATA, PAGE = DOCS / "reliability.json", DOCS / "reliability.md"
TEMPLATE = Path(__file__).with_name("reliability.md.jinja")
CAMPAIGNS = {
    "kills": (kills.campaign, 200, 3),
    "signals": (signals.campaign, 200, 2),
    "system_calls": (system_calls.campaign, 10_000, 6),
    "mutations": (lambda *chosen: damaged_runs(*chosen), 6000, 0),
    "hostile": (hostile.campaign, 300, 5),
    "texts": (texts.campaign, 2000, 4),
    "options": (options.campaign, 2000, 4),
    "processes": (processes.campaign, 60, 2),
    "extremes": (extremes.campaign, 100, 4),
}
"""The campaigns, with their numbers of trials and those of the quick part."""
PARTS = {
    "kills": {"events": 2, "names": ("fit", "analyze", "save"), "layers": "1"},
    "signals": {"names": ("fit", "analyze"), "layers": "1", "cold": False},
    "system_calls": {"names": ("fit", "save"), "layers": "1"},
}
"""What the quick part is limited to; the scenarios of these campaigns are made once."""


def damaged_runs(number, seed, folder):
    """Yield so many damaged run folders; the quick part is in `test_mutations`."""
    run = mutations.finished_run(folder)
    for failure in mutations.damages(run, number, seed, folder / "campaign"):
        yield Trial("damaged files of a run", str(failure), failure and failure.outcome)


def chosen_campaigns(arguments):
    """Names and functions of the campaigns to run, with their numbers."""
    for name in arguments.names or CAMPAIGNS:
        campaign, number, quick = CAMPAIGNS[name]
        if arguments.quick:
            campaign, number = partial(campaign, **PARTS.get(name, {})), quick
        else:
            number = arguments.trials or round(number * arguments.scale)
        if number:
            yield name, campaign, number


def written(found):
    """Add counts to docs/reliability.json, and write the page from it."""
    known = json.loads(DATA.read_text()) if DATA.exists() else {}
    known = {name: (known | found)[name] for name in CAMPAIGNS if name in known | found}
    DATA.write_text(json.dumps(known, indent=1) + "\n")
    PAGE.write_text(page(known))


def page(known):
    """docs/reliability.md with these counts."""
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    return environment.from_string(TEMPLATE.read_text()).render(
        campaigns=known, full={name: number for name, (_, number, _) in CAMPAIGNS.items()}
    )


def main():
    """Print the counts as JSON, and exit with 1 if anything did not hold."""
    faults.preload()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--trials", type=int, help="of each campaign, instead of the usual")
    parser.add_argument("--scale", type=float, default=1, help="share of the usual trials")
    parser.add_argument("--minutes", type=float, default=math.inf, help="of each campaign")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory(prefix="campaign-") as temporary:
        folder = Path(os.path.realpath(temporary))
        warm(folder / "warm")
        for name, campaign, number in chosen_campaigns(arguments):
            start = time.monotonic()
            place = folder / ("scenarios" if name in PARTS else name)
            rows = counts(campaign(number, arguments.seed, place), arguments.minutes)
            found[name] = {"seed": arguments.seed, "rows": rows}
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
            if arguments.write:
                written(found)
    print(json.dumps(found))
    rows = [row for campaign in found.values() for row in campaign["rows"].values()]
    sys.exit(any(row["held"] < row["tried"] for row in rows))


if __name__ == "__main__":
    main()
