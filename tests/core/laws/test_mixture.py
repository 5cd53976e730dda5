import pytest
import torch
from torch.distributions import MultivariateNormal

from sdelens.laws.law import Gaussian
from sdelens.laws.mixture import Mixture
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale

DIM = 3


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mixture(*batch):
    """Three components: a scale for each element, and two that all elements share."""
    scales = (
        DiagonalScale(randn(*batch, DIM, seed=1).exp()),
        LowRankScale(torch.tensor([0.5, 1.0, 2.0]), randn(DIM, 2, seed=2)),
        DiagonalScale(torch.tensor([0.1, 3.0, 1.0])),
    )
    weights = randn(*batch, len(scales), seed=3).log_softmax(-1)
    parts = enumerate(scales, start=4)
    return Mixture(weights, tuple(Gaussian(2 * randn(*batch, DIM, seed=k), s) for k, s in parts))


@pytest.mark.parametrize("batch", [(), (5,), (4, 7)])
def test_the_density_is_the_weighted_sum_of_normal_densities(batch):
    law, following = mixture(*batch), randn(*batch, DIM, seed=9)
    density = torch.zeros(batch)
    for weight, part in zip(law.log_weights.exp().unbind(-1), law.components, strict=True):
        normal = MultivariateNormal(part.mean, part.scale.covariance())
        density = density + weight * normal.log_prob(following).exp()
    torch.testing.assert_close(law.log_density(following), density.log())


def test_a_density_far_from_every_component_stays_finite():
    law = Mixture(
        torch.tensor([0.0, -torch.inf]),
        (Gaussian(torch.zeros(DIM), DiagonalScale(torch.ones(DIM))),) * 2,
    )
    far = torch.full((DIM,), 100.0)
    torch.testing.assert_close(law.log_density(far), law.components[0].log_density(far))


def test_samples_have_the_mixtures_mean_and_covariance():
    draws, law = 40_000, mixture()
    parts = tuple(Gaussian(c.centre.expand(draws, DIM), c.scale) for c in law.components)
    sample = Mixture(law.log_weights.expand(draws, 3), parts).sample(0).double()
    mean, covariance = law.mean.double(), law.covariance().covariance().double()
    assert ((sample.mean(0) - mean) / (covariance.diagonal() / draws).sqrt()).abs().max() < 4
    # a mixture has other fourth moments than a normal law: the error is that of the products
    products = (sample - mean)[:, :, None] * (sample - mean)[:, None]
    stderr = products.std(0) / draws**0.5
    assert ((products.mean(0) - covariance) / stderr).abs().max() < 4


def test_the_scale_is_one_covariance_in_all_its_forms():
    scale = mixture(4, 7).covariance()
    factor, covariance = scale.factor(), scale.covariance()
    assert factor.shape == (4, 7, DIM, scale.channels)
    torch.testing.assert_close(factor @ factor.mT, covariance)
    torch.testing.assert_close(scale.variance(), covariance.diagonal(dim1=-2, dim2=-1))
    noise, residual = randn(4, 7, scale.channels), randn(4, 7, DIM)
    torch.testing.assert_close(scale.apply(noise), (factor @ noise[..., None])[..., 0])
    normal = MultivariateNormal(torch.zeros(DIM), covariance)
    torch.testing.assert_close(scale.log_density(residual), normal.log_prob(residual))
    torch.testing.assert_close(scale.times(0.25).covariance(), 0.25 * covariance)


def test_the_seed_fixes_a_sample_and_the_global_state_is_left_alone():
    before, law = torch.get_rng_state(), mixture(4, 7)
    assert torch.equal(law.sample(1), law.sample(1))
    assert not torch.equal(law.sample(1), law.sample(2))
    assert torch.equal(before, torch.get_rng_state())
