"""Changes between two linear processes whose drift and noise are known."""

import math
from dataclasses import replace

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.estimation.ratio import FEWEST
from sdelens.fitting.study import Viewed
from sdelens.paths.split import split
from sdelens.paths.trajectories import Trajectories
from sdelens.runs.paired_change import PairedChange

PATHS, STEPS, DIM = 200, 40, 3


def walk(rate, std, *, paths=PATHS, seed=0):
    """X' = (1 - rate) X + std e from its stationary law, with the same draws for each seed."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(paths, DIM, generator=random) * std / math.sqrt(1 - (1 - rate) ** 2)
    states = [x]
    for _ in range(STEPS):
        noise = torch.randn(paths, DIM, generator=random)
        states.append((1 - rate) * states[-1] + std * noise)
    return torch.stack(states, 1)


def viewed(states):
    fitted = sdelens.fit(states, probe="linear", seed=0)
    paths = Trajectories.from_states(states, 1.0)
    return Viewed.of(fitted, paths, split(range(len(states)), seed=0))


def change(one, other):
    unit = torch.arange(PATHS)
    return PairedChange.of(one, other, unit)


@pytest.fixture(scope="module")
def process():
    return viewed(walk(0.5, 1.0))


def test_the_unit_and_the_origin_of_both_states_do_not_matter(process):
    states = walk(0.5, 1.0)
    for moved in (states, states + 7.0, states[..., [0, 1, 2]]):
        found = change(process, viewed(moved))
        for interval in (found.drift, found.noise, found.gain):
            assert float(interval.value) == pytest.approx(0, abs=1e-5)
            assert float(interval.high - interval.low) < 1e-4


def test_states_twice_as_large_have_twice_the_drift_and_noise_and_the_same_gain(process):
    found = change(process, viewed(2 * walk(0.5, 1.0)))
    for interval in (found.drift, found.noise):
        assert float(interval.value) == pytest.approx(math.log(2), abs=1e-5)
    assert float(found.gain.value) == pytest.approx(0, abs=1e-5)
    assert found.by_document[:2].mean() == pytest.approx(math.log(2), abs=1e-5)


def test_another_noise_and_another_rate_are_found_within_their_intervals(process):
    noisier, slower = (
        change(process, viewed(walk(*law, seed=1))) for law in ((0.5, 1.5), (0.2, 1))
    )
    assert float(noisier.noise.low) < math.log(1.5) < float(noisier.noise.high)
    assert float(noisier.drift.low) < math.log(1.5) < float(noisier.drift.high)
    assert float(slower.noise.low) < 0 < float(slower.noise.high)
    # the expected step is -rate x, and the variance of x is 1 / (1 - (1 - rate)^2)
    size = 0.5 * math.log((0.04 / 0.36) / (0.25 / 0.75))
    assert float(slower.drift.low) < size < float(slower.drift.high)
    # the gain is half the log of the stationary variance over that of the noise
    gain = 0.5 * math.log(0.75 / 0.36)
    assert float(slower.gain.low) < gain < float(slower.gain.high)


def test_intervals_have_two_sides_and_flip_their_signs_with_the_runs(process):
    other = viewed(walk(0.3, 1.2, seed=1))
    there, back = change(process, other), change(other, process)
    for name in ("drift", "noise", "gain"):
        one, two = getattr(there, name), -getattr(back, name)
        assert float(one.low) < float(one.value) < float(one.high)
        for a, b in zip(one.tensors().values(), two.tensors().values(), strict=True):
            assert float(a) == pytest.approx(float(b), rel=1e-9)
    assert torch.allclose(there.by_document, -back.by_document)


def test_each_document_is_a_unit_and_few_have_no_interval(process):
    found = change(process, process)
    held_out = split(range(PATHS), seed=0).test
    assert found.unit.tolist() == sorted(held_out)
    few = viewed(walk(0.5, 1.0, paths=40))
    small = PairedChange.of(few, few, torch.arange(40))
    assert len(small.unit) < FEWEST
    assert math.isnan(float(small.drift.low))
    assert float(small.drift.value) == 0
    grouped = PairedChange.of(process, process, torch.arange(PATHS) // 50)
    assert grouped.unit.tolist() == sorted({number // 50 for number in held_out})


def test_what_cannot_be_paired_is_refused(process):
    with pytest.raises(UsageError, match="states of 3 and 2 coordinates"):
        change(process, viewed(walk(0.5, 1.0)[..., :2]))
    with pytest.raises(UsageError, match="must hold out the same transitions"):
        change(
            process, replace(process, test=process.test.select([int(process.test.document[0])]))
        )
