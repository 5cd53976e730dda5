import pytest
import torch
from torch.distributions import MultivariateNormal

from sdelens.estimation.additive import AdditiveMean
from sdelens.laws.law import Gaussian, Kernel, Noise, group_of, prefixed
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale
from sdelens.paths.trajectories import Trajectories

DIM = 3


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def gaussian():
    return Gaussian(randn(4, 7, DIM), LowRankScale(torch.tensor([0.5, 1.0, 2.0]), randn(DIM, 2)))


def test_a_gaussians_density_is_that_of_a_multivariate_normal(gaussian):
    following = randn(4, 7, DIM, seed=5)
    reference = MultivariateNormal(gaussian.mean, gaussian.covariance().covariance())
    torch.testing.assert_close(gaussian.log_density(following), reference.log_prob(following))


def test_samples_have_the_gaussians_mean_and_covariance():
    draws = 20_000
    scale = LowRankScale(torch.tensor([0.5, 1.0, 2.0]), randn(DIM, 2))
    centre = torch.tensor([1.0, -2.0, 30.0])
    sample = Gaussian(centre.expand(draws, DIM), scale).sample(0)
    wanted = scale.covariance()
    variance = wanted.diagonal()
    assert ((sample.mean(0) - centre) / (variance / draws).sqrt()).abs().max() < 4
    stderr = ((variance[:, None] * variance + wanted.square()) / draws).sqrt()
    assert ((sample.mT.cov() - wanted) / stderr).abs().max() < 4


def test_the_seed_fixes_a_sample_and_the_global_state_is_left_alone(gaussian):
    before = torch.get_rng_state()
    assert torch.equal(gaussian.sample(1), gaussian.sample(1))
    assert not torch.equal(gaussian.sample(1), gaussian.sample(2))
    assert torch.equal(before, torch.get_rng_state())


class Growing(Noise):
    """A standard deviation of 1 + t."""

    def __call__(self, t, x):
        return DiagonalScale((1 + t)[..., None].expand(x.shape))

    def tensors(self):
        return {}


def test_a_kernel_sees_state_time_and_token():
    mean = AdditiveMean(
        matrix=torch.diag(torch.tensor([2.0, 3.0, 4.0])),
        times=torch.tensor([0.0, 1.0]),
        by_time=torch.tensor([[10.0] * DIM, [20.0] * DIM]),
        known=torch.tensor([5]),
        by_token=torch.tensor([[100.0] * DIM]),
    )
    kernel = Kernel(mean, Growing())
    block = Trajectories(
        states=torch.ones(2, 2, DIM),
        mask=torch.ones(2, 2, dtype=torch.bool),
        times=torch.tensor([[0.0, 1.0]]),
        tokens=torch.tensor([[5, 6], [6, 5]]),
        document=torch.tensor([0, 1]),
    )
    step = kernel.predict(block)
    linear = torch.tensor([2.0, 3.0, 4.0])
    expected = torch.stack(
        [torch.stack([linear + 110, linear + 20]), torch.stack([linear + 10, linear + 120])]
    )
    assert torch.equal(step.mean, expected)
    assert torch.equal(step.scale.variance()[..., 0], torch.tensor([[1.0, 4.0], [1.0, 4.0]]))
    assert kernel.tensors().keys() == {f"mean.{name}" for name in mean.tensors()}


def test_group_of_is_the_inverse_of_prefixed():
    inner = {"a": torch.zeros(1), "b.c": torch.ones(2)}
    named = prefixed(one=inner, other=inner, onemore={"d": torch.ones(3)})
    assert group_of(named, "one") == inner
    assert group_of(named, "onemore").keys() == {"d"}
    assert group_of(named, "none") == {}
