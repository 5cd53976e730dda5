import math
from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.runs.comparison import comparison, paired_gain
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from tests.small import small_model


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A linear and a constant fit to the same texts, and a linear one to others."""
    job = Job(
        model=str(small_model(tmp_path_factory.mktemp("models") / "small")),
        layers="1",
        source_settings={"documents_wanted": 40, "length": 20},
        probe="linear",
        cache=False,
    )
    jobs = {
        "linear": job,
        "constant": replace(job, probe="constant"),
        "other": replace(job, seed=1),
    }
    folder = tmp_path_factory.mktemp("runs")
    return {name: execute(each, folder / name) for name, each in jobs.items()}


def test_runs_on_the_same_states_are_paired_and_others_are_not(runs, tmp_path):
    report = comparison(list(runs.values()), tmp_path)
    [table] = report.tables
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert [row["probe"] for row in cells] == ["linear", "constant", "linear"]
    over_linear = [row["gain over linear"] for row in cells]
    assert [cell == "the fit itself" for cell in over_linear] == [True, False, True]
    paired = [row["gain over the first run"] for row in cells]
    assert paired[0] == ""
    assert "±" in paired[1]
    assert paired[2] == "other states"


def test_the_first_screen_says_which_run_is_better_and_which_cannot_be_paired(runs, tmp_path):
    screen = comparison(list(runs.values()), tmp_path).first_screen
    [check] = screen.checks
    assert check.claim == "constant beats linear"
    assert screen.gains.panels[0].layers[0].words == ("constant L01",)
    assert "other and linear cannot be paired: other texts" in screen.sentence
    reverse = comparison([runs["constant"], runs["linear"]], tmp_path).first_screen
    assert {check.outcome, reverse.checks[0].outcome} in ({"yes", "no"}, {"unclear"})


def test_a_missing_class_names_the_command_that_assigns_it(runs, tmp_path):
    [table] = comparison(list(runs.values()), tmp_path).tables
    folder = runs["linear"].folder.name
    assert table.rows[0][-1] == f"unknown: run `sdelens analyze {folder} verdict`"


def test_a_paired_gain_is_the_difference_of_the_scores(runs):
    view = runs["linear"].views[0]
    one, other = (runs[name].study().views[view] for name in ("linear", "constant"))
    group = runs["linear"].documents.group
    gain = paired_gain(one, other, group)
    scores = [each.fitted.record.scores["held_out_nll_raw_per_dim"] for each in (one, other)]
    # states are float32, and sums are taken in another order
    assert gain.value == pytest.approx(scores[1] - scores[0], abs=1e-5)
    assert paired_gain(other, one, group).value == pytest.approx(-gain.value)
    assert paired_gain(one, one, group).value == 0
    # the fixed mean of a Markov fit is no worse than a constant by more than its error
    assert gain.value > -4 * gain.stderr


def test_documents_of_one_group_are_one_unit_of_a_paired_gain(runs):
    view = runs["linear"].views[0]
    one, other = (runs[name].study().views[view] for name in ("linear", "constant"))
    apart = runs["linear"].documents.group
    alone, joined = (paired_gain(one, other, g) for g in (apart, torch.zeros_like(apart)))
    assert joined.value == pytest.approx(alone.value)
    assert alone.stderr > 0
    # from a single unit nothing is known of its error
    assert math.isnan(joined.stderr)


def test_one_run_is_no_comparison(runs, tmp_path):
    with pytest.raises(UsageError, match="at least two runs"):
        comparison([runs["linear"]], tmp_path)
    with pytest.raises(UsageError, match="different names"):
        comparison([runs["linear"], runs["linear"]], tmp_path)
