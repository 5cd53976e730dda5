"""Bases of states far from zero, in any unit, with constant coordinates."""

from dataclasses import replace

import pytest
import torch

from sdelens.paths.basis import BasisSpec, fit_basis
from sdelens.paths.trajectories import Trajectories
from tests.core.paths.correlated import CENTERS, DIM, KINDS, encoded, paths


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("name", KINDS)
def test_far_from_zero_and_in_any_unit_the_latent_states_are_the_same(name, center):
    block = paths()
    states = block.states.double()
    offset = torch.tensor([1e8, 0.0, -1e6, 1e4, 0.0]).double()
    unit = torch.tensor([1.0, 1e-12, 1e9, 1.0, 1e20]).double()
    if name == "raw":
        unit = torch.ones(DIM).double()
    moved = replace(block, states=states * unit + offset)
    one, other = (fit_basis(BasisSpec(name, center), b) for b in (block, moved))
    assert other.dropped == 0
    assert other.notes == []
    torch.testing.assert_close(encoded(other, moved), encoded(one, block), rtol=1e-3, atol=1e-3)
    t = block.times.expand(block.mask.shape)
    z = other.encode(t, moved.states)
    back = other.decode(t, z.double())
    assert ((back - moved.states) / other.spread)[block.mask].abs().max() < 1e-4


def test_a_coordinate_that_varies_a_millionth_of_its_size_or_of_another_is_kept():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, 3, generator=random, dtype=torch.float64)
    x = x * torch.tensor([1.0, 1e-9, 1.0]) + torch.tensor([0.0, 0.0, 1e8])
    basis = fit_basis(BasisSpec("standard"), Trajectories.from_states(x, 1.0))
    assert basis.dropped == 0
    torch.testing.assert_close(
        basis.spread, x.flatten(0, 1).std(0, correction=0).float(), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("name", ["raw", "standard", "whiten:5", "pca:2"])
def test_constant_coordinates_are_dropped_and_named_however_large(name, center):
    block = paths()
    states = block.states.clone()
    states[..., 1], states[..., 3] = 1 / 3, 1e7
    basis = fit_basis(BasisSpec(name, center), replace(block, states=states))
    assert basis.constant == [1, 3]
    assert basis.notes == [
        "2 coordinates (of 5, from 0: 1, 3) did not vary in training beyond the rounding "
        "of their float type and were left out: their drift and noise are 0."
    ]


def test_a_coordinate_that_depends_on_the_position_alone_is_constant_at_each():
    block = paths(ragged=False)
    states = block.states.clone()
    states[..., 2] = torch.arange(6) / 7
    same, own = (
        fit_basis(BasisSpec("standard", center), replace(block, states=states))
        for center in CENTERS
    )
    assert same.constant == []
    assert own.constant == [2]


def test_the_notes_name_ten_coordinates_and_count_principal_directions():
    random = torch.Generator().manual_seed(0)
    states = torch.randn(40, 6, 14, generator=random)
    states[..., :11] = 2.0
    states[..., 12] = 3 * states[..., 13]
    basis = fit_basis(BasisSpec("whiten:3"), Trajectories.from_states(states, 1.0))
    first, second = basis.notes
    assert "11 coordinates (of 14, from 0: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …)" in first
    assert second.startswith("1 principal direction with less than 1e-06 of the largest variance")


def test_half_precision_states_have_a_basis():
    block = paths()
    half = replace(block, states=block.states.half(), times=block.times)
    basis = fit_basis(BasisSpec("standard"), half)
    torch.testing.assert_close(
        basis.spread, fit_basis(BasisSpec("standard"), block).spread, rtol=1e-2, atol=0
    )
