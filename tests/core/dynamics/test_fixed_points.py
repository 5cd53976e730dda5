"""Fixed points of maps that are known."""

import pytest
import torch

from sdelens.dynamics.fixed_points import fixed_points
from sdelens.dynamics.region import Region
from sdelens.dynamics.step_map import StepMap
from sdelens.estimation.noise import ConstantNoise
from sdelens.laws.coefficient_sde import CoefficientSDE
from sdelens.laws.law import Mean
from sdelens.laws.scale import DiagonalScale
from sdelens.laws.sde import KernelSDE
from sdelens.seeds import generator


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def step(mean):
    """A map with unit noise."""
    return StepMap(mean, lambda x: DiagonalScale(torch.ones_like(x)))


def test_a_linear_map_has_its_one_fixed_point_and_eigenvalues():
    turn = torch.tensor([[0.6, -0.6, 0.0], [0.6, 0.6, 0.0], [0.0, 0.3, 0.5]]).double()
    offset = torch.tensor([1.0, 0.0, -1.0]).double()
    starts = normals(20, 3)
    found = fixed_points(
        step(lambda x: x @ turn.mT + offset), starts, Region.of(5 * normals(500, 3))
    )
    expected = torch.linalg.solve(torch.eye(3).double() - turn, offset)
    assert torch.allclose(found.points, expected[None], atol=1e-4)
    assert found.starts.tolist() == [20]
    # 0.6 ± 0.6i and 0.5
    assert torch.allclose(
        found.eigenvalues[0].abs(), torch.tensor([0.72**0.5] * 2 + [0.5]).double()
    )
    assert found.stable.all()


def test_the_double_well_has_three_of_which_the_middle_one_repels():
    x = torch.linspace(-1.6, 1.6, 40, dtype=torch.float64)[:, None]
    found = fixed_points(step(lambda x: x + 0.1 * (x - x**3)), x, Region.of(x))
    order = found.points[:, 0].argsort()
    assert torch.allclose(found.points[order, 0], torch.tensor([-1.0, 0, 1]).double(), atol=1e-3)
    # 1 + 0.1 (1 - 3 x^2)
    expected = torch.tensor([0.8, 1.1, 0.8]).double()
    assert torch.allclose(found.modulus[order], expected, atol=1e-3)
    assert found.stable[order].tolist() == [True, False, True]
    assert int(found.starts.sum()) == 40


def test_roots_outside_of_the_data_are_only_counted():
    x = torch.linspace(-1.6, -0.5, 40, dtype=torch.float64)[:, None]
    starts = torch.tensor([[-1.2], [0.9]], dtype=torch.float64)
    found = fixed_points(step(lambda x: x + 0.1 * (x - x**3)), starts, Region.of(x))
    assert len(found.points) == 1
    assert found.outside == 1


def test_a_map_without_a_fixed_point_has_none():
    found = fixed_points(step(lambda x: x + 1 + x**2), normals(10, 1), Region.of(normals(99, 1)))
    assert len(found.points) == 0
    assert found.lost == 10


def test_a_flow_by_runge_and_kutta_is_that_of_the_exponential():
    rate = torch.tensor([[-0.5, -1.0], [1.0, -0.5]]).double()
    flow = StepMap.flow(lambda x: x @ rate.mT, lambda x: DiagonalScale(torch.ones_like(x)), 0.5)
    x = normals(5, 2)
    expected = x @ torch.linalg.matrix_exp(0.5 * rate).mT
    # the method is wrong by about (h |A|)^5 / 120 a substep
    assert torch.allclose(flow.mean(x), expected, atol=1e-6)
    assert torch.allclose(flow.scale(x).variance(), torch.full((5, 2), 0.5).double())


class Well(Mean):
    """One step of Euler's method in the double well."""

    def __call__(self, t, x, token):
        return x + 0.1 * (x - x**3)

    def tensors(self):
        return {}


def test_a_step_of_a_kernel_is_its_own_and_of_an_instant_law_the_flow_of_its_drift():
    kernel = KernelSDE(
        Well(), ConstantNoise.independent(torch.tensor([0.3]).double()), 0.1, "euler"
    )
    x = torch.tensor([[0.5], [2.0]]).double()
    own = StepMap.of(kernel, 0.0)
    assert torch.allclose(own.mean(x), kernel.transition(torch.zeros(2).double(), x).mean)
    assert own.scale(x).variance().item() == pytest.approx(0.09)
    law = CoefficientSDE(kernel, "kessler", additive=True)
    # dx/dt = x - x^3 is solved by x e^t / sqrt(1 + x^2 (e^2t - 1))
    grown = torch.tensor(0.1).double().exp()
    exact = x * grown / (1 + x**2 * (grown**2 - 1)).sqrt()
    assert torch.allclose(StepMap.of(law, 0.0).mean(x), exact, atol=1e-5)
    assert not torch.allclose(own.mean(x), exact, atol=1e-3)


def test_the_region_holds_99_of_100_states_of_any_shape():
    x = normals(5000, 3, seed=1) @ torch.tensor([[5.0, 0, 0], [4, 1, 0], [0, 0, 0.01]]).double()
    region = Region.of(x)
    assert abs(float(region.holds(x).double().mean()) - 0.99) < 1e-3
    assert torch.allclose(region.size(region.shell(x, 2.0)), torch.full((5000,), 2.0).double())
