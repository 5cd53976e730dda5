"""Evidence from paths with gaps: what lies in a gap is never used."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from sdelens.errors import UsageError
from sdelens.evidence.horizons import Starts, thinned
from sdelens.evidence.jumps import tails
from sdelens.evidence.lagged import lagged
from sdelens.evidence.lagged_moments import Axes, lagged_moments
from sdelens.evidence.residuals import is_normal
from sdelens.fitting.fit import fit
from sdelens.paths.trajectories import Trajectories
from sdelens.testing import ornstein_uhlenbeck
from sdelens_plugins.analyzers.common.observed_path import longest_run

SYSTEM = ornstein_uhlenbeck(2)
STATES = SYSTEM.simulate(60, 41, seed=0)
BLOCK = Trajectories.from_states(STATES, SYSTEM.dt)


def with_gaps(filling, share=0.15):
    """A seventh of the states missing at random, with `filling` in their place."""
    keep = torch.rand(60, 41, generator=torch.Generator().manual_seed(1)) > share
    states = STATES.where(keep[..., None], filling)
    return replace(BLOCK, mask=keep, states=states)


def cut(block):
    """Every run of observations as a path of its own, of the same document."""
    rows = []
    for path, seen in enumerate(block.mask):
        start = seen & ~torch.cat([torch.zeros(1, dtype=torch.bool), seen[:-1]])
        number = start.long().cumsum(0)
        rows += [(path, seen & (number == k)) for k in range(1, int(start.sum()) + 1)]
    index = torch.tensor([path for path, _ in rows])
    return replace(block.rows(index), mask=torch.stack([mask for _, mask in rows]))


@pytest.fixture(scope="module")
def law():
    fitted = fit(BLOCK, probe="linear", density="discrete")
    return replace(fitted.law, dt=SYSTEM.dt)


def test_states_at_several_offsets_are_observed_together():
    block = replace(
        BLOCK.rows(torch.arange(1)), mask=torch.tensor([[True, True, False, True] + [True] * 37])
    )
    assert block.steps[0, :4].tolist() == [True, False, False, True]
    assert block.observed(0, 3)[0, :2].tolist() == [True, True]
    assert block.observed(0, 1, 3)[0, :2].tolist() == [True, False]
    assert block.observed(0, 50).shape == (1, 0)


@pytest.mark.parametrize("filling", [99.0, 0.0])
def test_memory_uses_runs_of_four_observations_only(law, filling):
    groups = torch.arange(60)
    gaps, runs = lagged(law, with_gaps(filling), groups), lagged(law, cut(with_gaps(7.0)), groups)
    assert len(gaps.x) == len(runs.x)
    # the same rows in another order
    for name in ("x", "before", "residual", "squares"):
        # averages go back beyond a gap, lags do not
        one, other = (
            getattr(each, name).flatten(2)[:, :2].flatten(1).sum(-1).sort().values
            if name in {"before", "squares"}
            else getattr(each, name).sum(-1).sort().values
            for each in (gaps, runs)
        )
        assert_close(one, other)
    assert gaps.before.abs().max() < 10


def test_forecasts_are_compared_with_observed_states_only():
    block = with_gaps(99.0)
    starts = Starts.of(block, (1, 2, 4), each=40)
    assert starts.following.abs().max() < 10
    assert len(starts.t) == int((block.observed(0, 1, 2, 4)).sum())
    [spaced] = thinned(block, 2)
    assert int(spaced.steps.sum()) == int(block.observed(0, 2).sum())


def test_lagged_moments_and_tails_do_not_depend_on_what_lies_in_a_gap(law):
    groups, axes = torch.arange(60), Axes.of(BLOCK, 2)
    found = [with_gaps(filling) for filling in (99.0, 0.0)]
    one, other = (
        lagged_moments(law, [block], groups, axes, trained=60, seed=0) for block in found
    )
    assert [effect.value for effect in one] == [effect.value for effect in other]
    one, other = (tails([block], groups) for block in found)
    assert_close(one, other)


def test_a_gaussian_law_is_normal_on_paths_with_every_third_state_missing(law):
    mask = (torch.arange(41) % 3 > 0).expand(60, 41)
    assert is_normal(law, replace(BLOCK, mask=mask))


@pytest.mark.parametrize("share", [0.15])
def test_gaps_do_not_change_the_evidence_of_a_linear_process(share):
    block = with_gaps(99.0, share)
    evidence = fit(block, probe="linear").verdict(block).evidence
    assert not any(effect.shown for effect in (*evidence.memory, *evidence.lagged))
    assert not evidence.mixture.shown
    assert evidence.embeddable > 0.5


def test_paths_with_gaps_only_are_one_clear_error(law):
    mask = (torch.arange(41) % 3 > 0).expand(60, 41)
    with pytest.raises(UsageError, match="four observations in a row"):
        lagged(law, replace(BLOCK, mask=mask), torch.arange(60))


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("111", (0, 3)),
        ("0110", (1, 3)),
        ("110111011", (3, 6)),
        ("1101", (0, 2)),
        ("11011", (0, 2)),
        ("001", (2, 3)),
        ("000", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_the_longest_run_of_observations_is_drawn(seen, expected):
    run = longest_run(torch.tensor([letter == "1" for letter in seen], dtype=torch.bool))
    assert (run.stop - run.start) == expected[1] - expected[0]
    assert run.stop == run.start or (run.start, run.stop) == expected
