"""Simulating from a prompt on the command line."""

import json
import shutil

import pytest


@pytest.fixture
def run(finished, tmp_path):
    """A copy, since what is found is written into it."""
    return shutil.copytree(finished, tmp_path / "run")


def test_a_prompt_is_continued_in_every_view(sdelens, run):
    options = ("--prompt", "the cat sat", "--tokens", 4, "--json")
    done = sdelens("simulate", run, *options)
    assert done.returncode == 0, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert [finding["view"] for finding in findings] == ["L00", "L02"]
    for finding in findings:
        assert {"the fit, network", "the model, likeliest"} <= set(finding["texts"])
        assert finding["prompt"] == "the cat sat"
        assert finding["headline"].startswith("After “the cat sat” the fit continues")
    assert len(list(run.glob("analysis/generate/*/finding.json"))) == 2


def test_without_json_the_texts_stand_in_a_table(sdelens, run):
    (run / "fits" / "L00" / "DONE").unlink()  # one layer is enough
    shown = sdelens("simulate", run, "--prompt", "the cat sat", "--tokens", 4)
    assert shown.returncode == 0, shown.stderr
    assert "random walk, nearest" in shown.stdout
    assert "L00" not in shown.stdout


def test_what_cannot_be_simulated_is_a_usage_error(sdelens, run):
    done = sdelens("simulate", run, "--start", "middle")
    assert done.returncode == 2
    assert "--start must be last or mean" in done.stderr
    assert sdelens("simulate", run.parent).returncode == 2
    for prompt in ("", " "):
        done = sdelens("simulate", run, "--prompt", prompt)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: --prompt is empty: give a text, or leave it out")
