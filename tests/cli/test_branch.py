"""Branching on the command line."""

import json
import shutil

import pytest


@pytest.fixture
def run(finished, tmp_path):
    """A copy, since what is found is written into it."""
    return shutil.copytree(finished, tmp_path / "run")


def test_the_law_of_every_layer_is_found_in_one_go(sdelens, run):
    done = sdelens("branch", run, "--every", 2, "--json")
    assert done.returncode == 0, done.stderr
    (finding,) = json.loads(done.stdout)["findings"]
    assert finding["analyzer"] == "transition_law"
    assert finding["view"] == "L00-L02"
    assert (run / "analysis" / "transition_law" / "L00-L02" / "arrays.safetensors").exists()
    table = [estimate["name"] for estimate in finding["estimates"]]
    assert "L02: trace of S*" in table


def test_what_cannot_be_branched_is_a_usage_error(sdelens, run):
    done = sdelens("branch", run, "--branches", 1)
    assert done.returncode == 2
    assert "branches must be at least 2" in done.stderr
