"""The shape of laws over points, their weights by temperature, and a fit's divergence."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import BadNumbers, UsageError
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.gaussianity.gaussian_divergence import gaussian_divergence
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling
from sdelens_plugins.analyzers.gaussianity.spectrum import Spectrum
from tests.plugins.analyzers.gaussianity.points import DOUBLE, randn


def even(count):
    return torch.full((count,), 1 / count, dtype=DOUBLE)


@pytest.mark.parametrize("rare", [0.5, 0.2, 0.01])
@pytest.mark.parametrize("dim", [1, 7])
def test_two_points_have_the_kurtosis_of_a_bernoulli_law(rare, dim):
    points, weights = randn(2, dim), torch.tensor([1 - rare, rare], dtype=DOUBLE)
    shape = Spectrum.of(points, weights)
    assert float(shape.kurtosis) == pytest.approx(1 / (rare * (1 - rare)) - 6, rel=1e-9, abs=1e-9)
    assert float(shape.kurtosis) > -2 - 1e-9
    length = float((points[1] - points[0]).square().sum())
    assert float(shape.variance) == pytest.approx(rare * (1 - rare) * length / dim)
    assert float(shape.share(1)) == pytest.approx(1)
    assert float(shape.participation) == pytest.approx(1)
    assert int(shape.rank) == 1
    # the normal law has as much on either side of its mean
    assert float(shape.gap) >= max(rare, 1 - rare) / 2


@pytest.mark.parametrize("dim", [2, 5, 40])
def test_corners_of_a_simplex_have_as_many_equal_directions_as_they_span(dim):
    """K equally likely orthogonal points: K - 1 eigenvalues of 1 / K, fewer or more than `dim`."""
    count = 6
    points = torch.eye(max(count, dim), dtype=DOUBLE)[:count]
    shape = Spectrum.of(points, even(count))
    assert torch.allclose(shape.values[: count - 1], torch.full((count - 1,), 1 / count).double())
    assert float(shape.participation) == pytest.approx(count - 1)
    assert float(shape.share(2)) == pytest.approx(2 / (count - 1))
    assert int(shape.rank) == count - 1


@pytest.mark.parametrize("count", [30, 900])
def test_eigenvectors_and_values_are_those_of_the_covariance(count):
    """Of fewer points than coordinates, and of more."""
    points, weights = randn(count, 60) * torch.linspace(3, 0.1, 60), randn(count, seed=1).exp()
    weights = (weights / weights.sum()).double()
    shape = Spectrum.of(points, weights)
    away = points - weights @ points
    truth = (weights[:, None] * away).mT @ away
    kept = shape.vectors[:25]
    assert torch.allclose(kept @ kept.mT, torch.eye(25, dtype=DOUBLE), atol=1e-9)
    assert torch.allclose(kept @ truth @ kept.mT, shape.values[:25].diag(), atol=1e-9)
    assert float(shape.values.sum()) == pytest.approx(float(truth.trace()))
    assert torch.allclose(
        (weights * shape.projection.square()).sum(), torch.ones((), dtype=DOUBLE)
    )


def test_many_normal_points_have_no_excess_kurtosis():
    """Its standard error is sqrt(24 / n), and of the largest gap less than 1 / sqrt(n)."""
    count, dim = 20_000, 4
    points = randn(50, count, dim) * torch.tensor([3.0, 1, 1, 1])
    shape = Spectrum.of(points, even(count).expand(50, -1))
    stderr = (24 / count) ** 0.5
    assert abs(float(shape.kurtosis.mean())) < 3 * stderr / 50**0.5 + 10 / count
    assert float(shape.kurtosis.std()) == pytest.approx(stderr, rel=0.4)
    # Lilliefors: the 99.9% point of the gap with estimated moments is 1.2 / sqrt(n)
    assert float(shape.gap.max()) < 1.3 / count**0.5


def test_a_flat_law_has_the_kurtosis_of_the_uniform():
    points = torch.linspace(-1, 1, 5001, dtype=DOUBLE)[:, None]
    assert float(Spectrum.of(points, even(5001)).kurtosis) == pytest.approx(-1.2, abs=1e-5)


def test_points_of_no_weight_do_not_count():
    points, weights = randn(8, 3), even(8)
    more = torch.cat([points, 100 * randn(5, 3, seed=1)])
    some = Spectrum.of(more, torch.cat([weights, torch.zeros(5, dtype=DOUBLE)]))
    alone = Spectrum.of(points, weights)
    for name in ("variance", "kurtosis", "gap", "participation"):
        assert float(getattr(some, name)) == pytest.approx(float(getattr(alone, name)))


def test_states_that_are_not_numbers_are_refused():
    with pytest.raises(BadNumbers, match="must be finite"):
        Spectrum.of(torch.full((2, 3), torch.nan), even(2))


def full_rank(dim=3):
    """Points whose kept eigenvectors are all there are."""
    shape = Spectrum.of(randn(400, dim), even(400))
    assert int(shape.rank) == dim
    return shape, (shape.vectors.mT * shape.values) @ shape.vectors


def test_equal_gaussians_do_not_diverge():
    shape, covariance = full_rank()
    found = gaussian_divergence(shape, shape.mean, covariance)
    assert float(found.nats) == pytest.approx(0, abs=1e-12)


def test_the_divergence_is_that_of_torch_where_no_direction_is_left_out():
    shape, covariance = full_rank()
    other = covariance + torch.tensor([[1.0, 0.4, 0], [0.4, 2, 0], [0, 0, 0.1]]).double()
    mean = shape.mean + torch.tensor([0.3, -1.0, 2.0])
    found = gaussian_divergence(shape, mean, other)
    normal = torch.distributions.MultivariateNormal
    truth = torch.distributions.kl_divergence(normal(shape.mean, covariance), normal(mean, other))
    assert float(found.nats) == pytest.approx(float(truth))
    # the covariance alone is at fault where the mean is right
    assert float(gaussian_divergence(shape, shape.mean, other).nats) == pytest.approx(
        float(found.noise)
    )
    assert float(found.floor) == pytest.approx(float(shape.values[-1]))


def test_directions_that_are_left_out_do_not_count():
    """Variances 10, 1 and 1e-8: two are kept, and the fit may say anything of the third."""
    axes = torch.tensor([10.0, 1.0, 1e-8], dtype=DOUBLE).sqrt().diag() * 3**0.5
    shape = Spectrum.of(torch.cat([axes, -axes]), even(6))
    fits = [torch.diag(torch.tensor([20.0, 1.0, last]).double()) for last in (1e-3, 5.0)]
    found = [gaussian_divergence(shape, torch.tensor([0.0, 0.0, 7.0]), fit) for fit in fits]
    assert [int(one.rank) for one in found] == [2, 2]
    truth = (0.5 - 1 + torch.tensor(2.0).log()) / 2
    assert [float(one.nats) for one in found] == pytest.approx([float(truth)] * 2)
    assert float(found[0].floor) == pytest.approx(1)


def test_prefixes_of_different_rank_are_each_as_alone():
    some, other = randn(3, 5), torch.cat([randn(1, 5, seed=1)] * 2 + [randn(1, 5, seed=2)])
    batch = Spectrum.of(torch.stack([some, other]), even(3).expand(2, -1))
    fit, mean = torch.eye(5, dtype=DOUBLE) * 0.7, randn(2, 5, seed=3)
    together = gaussian_divergence(batch, mean, fit.expand(2, -1, -1))
    for k, points in enumerate((some, other)):
        alone = gaussian_divergence(Spectrum.of(points, even(3)), mean[k], fit)
        for name in ("noise", "mean", "rank", "floor"):
            found, truth = getattr(together, name)[k], getattr(alone, name)
            assert float(found) == pytest.approx(float(truth))
    assert together.rank.tolist() == [2, 1]


@pytest.mark.parametrize("batch", [1, 2])
def test_one_point_alone_has_no_direction_and_diverges_in_none(batch):
    """Whether or not another law of the batch has more points."""
    points = torch.stack([randn(3, 5), randn(3, 5, seed=1)])[:batch]
    weights = torch.tensor([[0.0, 1.0, 0.0], [0.2, 0.3, 0.5]], dtype=DOUBLE)[:batch]
    fit = torch.eye(5, dtype=DOUBLE).expand(batch, -1, -1)
    found = gaussian_divergence(
        Spectrum.of(points, weights), torch.zeros(batch, 5, dtype=DOUBLE), fit
    )
    assert found.rank.tolist() == [0, 2][:batch]
    assert float(found.floor[0]) == torch.inf
    assert float(found.nats[0]) == 0
    assert float(found.nats[1:].sum()) > 0 or batch == 1


def test_a_fit_without_noise_is_refused():
    shape, covariance = full_rank()
    with pytest.raises(BadNumbers, match="positive definite"):
        gaussian_divergence(shape, shape.mean, torch.zeros_like(covariance))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prefixes": 0}, "prefixes"),
        ({"listed": 0}, "listed"),
        ({"drawn": 1}, "drawn"),
        ({"temperatures": (1.0, -1.0)}, "temperatures"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    usual = PrefixSampling(Sampler(), (1.0,), 12, 64, 8)
    with pytest.raises(UsageError, match=said):
        replace(usual, **settings)
