import pytest
import torch
from torch.testing import assert_close

from sdelens.laws.grid import Grid


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()


def grid_of(dim):
    return Grid(torch.arange(dim).double() - 1, torch.arange(dim).double() * 2 + 1, 5)


def inside(grid, count, seed=0):
    return grid.lower + rand(count, grid.dim, seed=seed) * (grid.upper - grid.lower)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_multilinear_function_is_interpolated_exactly(dim):
    grid = grid_of(dim)
    function = lambda x: torch.stack([1 + x.prod(-1), x.sum(-1)], -1)
    x = inside(grid, 50)
    assert_close(grid.interpolate(function(grid.points()), x), function(x))
    assert_close(
        grid.interpolate(function(grid.points()), x.view(5, 10, dim)).flatten(0, 1), function(x)
    )


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_spreading_is_the_adjoint_of_interpolation(dim):
    grid = grid_of(dim)
    x, sums, values = inside(grid, 40), rand(40, 1, seed=1), rand(grid.size, 1, seed=2)
    assert_close((grid.spread(x, sums) * values).sum(), (sums * grid.interpolate(values, x)).sum())
    assert_close(grid.spread(x, sums).sum(), sums.sum())


def test_outside_it_keeps_the_value_of_its_surface():
    grid = grid_of(2)
    values = rand(grid.size, 1)
    far = torch.tensor([[100.0, 1.5], [-100.0, -100.0]]).double()
    edge = torch.tensor([[1.0, 1.5], [-1.0, 0.0]]).double()
    assert_close(grid.interpolate(values, far), grid.interpolate(values, edge))
    assert grid.inside(far).tolist() == [False, False]
    assert grid.inside(edge).tolist() == [True, True]
