"""Lipschitz constants that are known, and bounds that must hold."""

from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch

from sdelens.dynamics.lipschitz import SILU, Perceptron, drift_bound, noise_bound
from sdelens.dynamics.regularity import Regularity
from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise, NoiseFeatures, NoiseSpec, StateDependentNoise
from sdelens.laws.law import Mean
from sdelens.laws.network import Clock, Network
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.seeds import generator


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def additive(matrix):
    dim, blank = len(matrix), torch.empty(0, dtype=torch.long)
    return AdditiveMean(matrix, torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim))


def features(dim, waves=2):
    return NoiseFeatures(
        normals(dim, seed=8), 0.5 + normals(dim, seed=9).abs(), Clock(0.0, 9.0, waves)
    )


def network(*sizes, seed=0):
    weights = [normals(i, o, seed=seed + k) for k, (i, o) in enumerate(pairwise(sizes))]
    return Network(tuple(weights), tuple(normals(o, seed=99) for o in sizes[1:]))


@dataclass(frozen=True, eq=False)
class Bent(Mean):
    """What the neural probe's mean is made of."""

    linear: AdditiveMean
    direct: torch.Tensor
    network: Network
    features: NoiseFeatures

    def __call__(self, t, x, token):
        seen = self.features(t, x)
        return self.linear(t, x, token) + seen @ self.direct + self.network(seen)

    def tensors(self):
        return {}


class Tanh(Mean):
    """tanh(3 x): of a kind of which nothing is known."""

    def __call__(self, t, x, token):
        return torch.tanh(3 * x)

    def tensors(self):
        return {}


def regularity(law, x):
    return Regularity.of(law, torch.zeros(len(x)), x, torch.zeros(x.shape[-1]))


@pytest.mark.parametrize("dt", [1.0, 0.5])
def test_the_constant_of_a_linear_kernel_is_exact_and_attained(dt):
    matrix = normals(4, 4)
    law = KernelSDE(additive(matrix), ConstantNoise.independent(torch.ones(4)), dt=dt)
    bound = drift_bound(law)
    assert bound.exact
    assert bound.value == pytest.approx(
        float(torch.linalg.svdvals(matrix - torch.eye(4)).max()) / dt, rel=1e-5
    )
    found = regularity(law, normals(20, 4))
    assert float(found.drift.max()) == pytest.approx(bound.value, rel=1e-4)
    assert noise_bound(law).value == 0
    assert float(found.noise.max()) == 0


def test_a_linear_sde_has_the_norm_of_its_matrix_per_unit_of_time():
    law = LinearSDE.from_step(0.5 * torch.eye(2), torch.zeros(2), torch.eye(2), 0.1)
    assert drift_bound(law).value == pytest.approx(6.9315, rel=1e-4)
    assert noise_bound(law).exact


def test_the_slope_of_a_tanh_law_is_seen_though_no_bound_is_known():
    law = KernelSDE(Tanh(), ConstantNoise.independent(torch.ones(1)))
    found = regularity(law, torch.linspace(-3, 3, 301)[:, None])
    assert drift_bound(law).value is None
    # 3 sech^2(3 x) - 1 is 2 at zero and -1 far out
    assert float(found.drift.max()) == pytest.approx(2, rel=1e-4)
    assert float(found.drift[0]) == pytest.approx(1, rel=1e-3)


def test_the_bound_of_one_hidden_unit_is_attained():
    net = Network(
        (torch.tensor([[2.0]]), torch.tensor([[-1.5]])), (torch.zeros(1), torch.zeros(1))
    )
    plain = NoiseFeatures(torch.zeros(1), torch.full((1,), 0.5), Clock(0.0, 1.0, 0))
    law = KernelSDE(
        Bent(additive(torch.eye(1)), torch.zeros(1, 1), net, plain),
        ConstantNoise.independent(torch.ones(1)),
    )
    assert isinstance(law.mean, Perceptron)
    bound = drift_bound(law)
    assert bound.value == pytest.approx(2 * 1.5 / 0.5 * SILU)
    found = regularity(law, torch.linspace(-3, 3, 2001)[:, None])
    assert float(found.drift.max()) == pytest.approx(bound.value, rel=1e-4)


def test_the_bound_of_a_perceptron_holds_and_counts_its_linear_path():
    dim, own = 3, features(3)
    net = network(own.size, 16, 16, dim)
    direct = normals(own.size, dim, seed=5)
    law = KernelSDE(
        Bent(additive(normals(dim, dim)), direct, net, own),
        ConstantNoise.independent(torch.ones(3)),
    )
    bound = drift_bound(law).value
    assert float(regularity(law, 3 * normals(200, 3)).drift.max()) < bound
    still = Network((0 * net.weights[0], *net.weights[1:]), net.biases)
    straight = KernelSDE(Bent(law.mean.linear, direct, still, own), law.noise)
    found = regularity(straight, normals(9, 3))
    # what the network adds does not change with the state: the linear path is all there is
    assert float(found.drift.max()) == pytest.approx(drift_bound(straight).value, rel=1e-4)


@pytest.mark.parametrize("form", ["scalar", "diagonal", "correlated:2", "full"])
def test_the_bound_of_sigma_holds_between_any_two_states(form):
    own, root = features(3), normals(3, 3, seed=3)
    covariance = root @ root.mT + torch.eye(3)
    stack = StateDependentNoise.stack(NoiseSpec(form), own, [covariance.double()], [8, 8], 0)
    net = stack.member(0).network
    net = Network(tuple(w + normals(*w.shape, seed=4) for w in net.weights), net.biases)
    member = stack.member(0)
    base = member.base.float()
    noise = StateDependentNoise(own, base, net, member.correlation)
    law = KernelSDE(additive(torch.eye(3)), noise, dt=0.25)
    x, y = 2 * normals(300, 3, seed=6), 2 * normals(300, 3, seed=7)
    t = torch.zeros(300)
    gap = (law.diffusion(t, x).factor() - law.diffusion(t, y).factor()).flatten(1).norm(dim=1)
    assert float((gap / (x - y).norm(dim=1)).max()) < noise_bound(law).value
    assert float(regularity(law, x).noise.max()) < noise_bound(law).value
    same = (law.diffusion(t, x).entries() - law.diffusion(t, y).entries()).norm(dim=1)
    assert torch.allclose(same, gap, rtol=1e-3, atol=1e-4)


def test_linear_growth_of_a_linear_law_is_its_closed_form():
    law = KernelSDE(additive(3 * torch.eye(2)), ConstantNoise.independent(torch.full((2,), 0.5)))
    x = normals(30, 2)
    squares = x.square().sum(-1)
    expected = ((4 * squares + 0.5) / (1 + squares)).sqrt()
    assert torch.allclose(regularity(law, x).growth.float(), expected, rtol=1e-4)
