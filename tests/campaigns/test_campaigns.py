"""A fixed part of every campaign; `make campaign` runs all of them."""

import json
import os
import subprocess
import sys

import pytest

from tests.campaigns.__main__ import CAMPAIGNS

QUICK = sorted(name for name, (_, _, quick) in CAMPAIGNS.items() if quick)


@pytest.fixture(scope="module")
def found(root):
    """Counts of the quick campaigns, which run in one process of their own."""
    paths = [root, root / "cli", root / "plugins"]
    variables = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns", "--quick"],
        env=os.environ | variables,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout, done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize("name", QUICK)
def test_every_trial_of_a_campaign_holds(found, name):
    counts, said = found
    rows = counts[name]["rows"]
    if name == "system_calls" and not rows:
        pytest.skip("needs a C compiler")
    assert rows
    assert {k: row for k, row in rows.items() if row["held"] < row["tried"]} == {}, said
