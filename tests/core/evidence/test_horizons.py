"""Several steps ahead, against the law that is known in closed form."""

from dataclasses import replace

import pytest
import torch

from sdelens.estimation.additive import AdditiveMean
from sdelens.evidence.horizons import Starts, iterated, memoryless, thinned
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Kernel
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def kernel(decay, std, dim=2, known=0):
    tokens = torch.arange(known)
    effects = torch.randn(known, dim, generator=generator(3))
    mean = AdditiveMean(
        decay * torch.eye(dim), torch.zeros(1), torch.zeros(1, dim), tokens, effects
    )
    return Kernel(mean, ConstantNoise.independent(torch.full((dim,), std)))


@pytest.fixture(scope="module")
def ragged():
    """Each state tells its document and time."""
    document, time = torch.meshgrid(torch.arange(5.0), torch.arange(11.0), indexing="ij")
    block = Trajectories.from_states(torch.stack([document, time], dim=-1), 1.0)
    starts = torch.tensor([0, 0, 3, 0, 0])[:, None]
    ends = torch.tensor([11, 4, 9, 1, 8])[:, None]
    mask = (torch.arange(11) >= starts) & (torch.arange(11) < ends)
    return replace(block, mask=mask, tokens=torch.arange(55).reshape(5, 11))


@pytest.mark.parametrize("every", [1, 2, 4, 20])
def test_steps_of_thinned_paths_are_all_steps_of_that_length(ragged, every):
    flat = next(iter(thinned(ragged, every))).flat()
    found = {
        (int(x[0]), int(x[1]), int(y[1]), float(t), int(k))
        for x, y, t, k in zip(flat.x, flat.following, flat.t, flat.token, strict=True)
    }
    expected = {
        (d, t, t + every, float(t), 11 * d + t)
        for d in range(5)
        for t in range(11 - every)
        if ragged.mask[d, t] and ragged.mask[d, t + every]
    }
    assert found == expected
    assert len(flat.t) == len(expected)


def test_starts_are_spread_evenly_where_the_farthest_horizon_is_observed(ragged):
    found = Starts.of(ragged, (1, 3), each=2)
    pairs = list(zip(found.document.tolist(), found.t.tolist(), strict=True))
    assert pairs == [(0, 3), (0, 7), (1, 0), (2, 4), (2, 5), (4, 2), (4, 4)]
    assert torch.equal(found.x[:, 1], found.t)
    for row, h in enumerate((1, 3)):
        assert torch.equal(found.following[row, :, 1], found.t + h)
        assert torch.equal(found.following[row, :, 0], found.document.float())
    assert Starts.of(ragged, (11,), each=2) is None
    assert Starts.of(ragged, (10,), each=2).document.tolist() == [0]


def test_an_iterated_kernel_has_the_moments_of_the_process():
    x, t = torch.tensor([[2.0, -1.0], [0.0, 5.0]]), torch.zeros(2)
    draws = 20_000
    laws = iterated(kernel(0.8, 0.6), t, x, dt=1.0, steps=4, draws=draws, seed=0)
    for h, found in enumerate(laws, start=1):
        variance = 0.36 * (1 - 0.64**h) / (1 - 0.64)
        error = (variance / draws) ** 0.5
        assert torch.allclose(found.mean(1), 0.8**h * x, atol=4 * error)
        assert torch.allclose(
            found.var(1), torch.tensor(variance), atol=4 * variance * (2 / draws) ** 0.5
        )
    assert h == 4


def test_times_advance_with_the_steps():
    """A kernel that jumps to its time's own state shows which time it was told."""
    dim, times = 1, torch.arange(4.0) / 2
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(torch.zeros(1, 1), times, 10 * times[:, None], blank, torch.zeros(0, dim))
    law = Kernel(mean, ConstantNoise.independent(torch.full((1,), 1e-6)))
    states = iterated(law, torch.zeros(1), torch.zeros(1, 1), dt=0.5, steps=4, draws=2, seed=0)
    assert [round(float(s[0, 0])) for s in states] == [0, 5, 10, 15]


def test_a_kernel_is_memoryless_and_a_table_of_tokens_is_not(ragged):
    assert memoryless(kernel(0.8, 0.6), ragged)
    assert not memoryless(kernel(0.8, 0.6, known=55), ragged)
