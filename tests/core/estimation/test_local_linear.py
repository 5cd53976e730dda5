import pytest
import torch
from torch.testing import assert_close

from sdelens.estimation.local_linear import PRIOR, LocalLinear
from sdelens.laws.grid import Grid


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)).double()


def problem(dim, count=50.0, nodes=9):
    """Responses at the nodes themselves, so that nothing is lost by spreading."""
    lower = torch.zeros(dim).double()
    grid = Grid(lower, lower + 4, nodes)
    counts = count * (1 + rand(grid.size))
    responses = rand(grid.size, 2, seed=1)
    unit = torch.tensor([1.0, 2.0])[:dim].double()
    return LocalLinear(grid, unit, counts, counts[:, None] * responses), responses


@pytest.mark.parametrize("dim", [1, 2])
def test_the_plain_estimate_is_weighted_least_squares_around_every_node(dim):
    local, responses = problem(dim)
    bandwidth, points = 0.7, local.grid.points()
    found = local.plain(bandwidth)
    for node in (0, local.grid.size // 2, local.grid.size - 1):
        u = (points - points[node]) / local.unit
        weight = local.count * (-0.5 * (u / bandwidth).square().sum(-1)).exp()
        phi = torch.cat([torch.ones_like(u[:, :1]), u], 1)
        prior = PRIOR * torch.tensor([1.0, *[bandwidth**2] * dim]).double().diag()
        gram = phi.mT @ (weight[:, None] * phi) + prior
        truth = torch.linalg.solve(gram, phi.mT @ (weight[:, None] * responses))[0]
        assert_close(found[node], truth)


def test_the_variance_is_that_of_the_weights_of_all_responses():
    local, _ = problem(1, count=1e6)
    one_each = LocalLinear(local.grid, local.unit, local.count, local.count.diag())
    weights = one_each.estimate(0.7)  # [node, node]: summed over the states at each
    truth = (weights.square() / local.count).sum(1)
    assert_close(local.variance(0.7), truth, rtol=1e-5, atol=0)


def test_without_data_the_estimate_is_zero_with_the_error_of_one_response():
    local, _ = problem(1, nodes=81)
    nothing = torch.zeros_like(local.count)
    empty = LocalLinear(local.grid, local.unit, nothing, nothing[:, None])
    assert_close(empty.estimate(0.2), nothing[:, None])
    assert (empty.variance(0.2) >= 1).all()


def test_the_bias_of_curvature_is_removed():
    grid = Grid(torch.zeros(1).double(), torch.full((1,), 20.0).double(), 201)
    count = torch.full((201,), 1e6).double()
    curve = (grid.points() - 10).square()
    local = LocalLinear(grid, torch.ones(1).double(), count, count[:, None] * curve)
    middle = slice(90, 111)
    # the plain estimate of a parabola is too high by the kernel's variance
    assert_close(local.plain(1.0)[middle], curve[middle] + 1, rtol=0, atol=1e-3)
    assert_close(local.estimate(1.0)[middle], curve[middle], rtol=0, atol=1e-3)


def test_averages_stay_within_the_responses():
    local, responses = problem(2)
    found = local.average(0.5)
    assert (found >= responses.amin(0)).all()
    assert (found <= responses.amax(0)).all()
