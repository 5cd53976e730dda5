import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal

from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, FullScale, ScaledCorrelation

DIM = 4


def randn(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64)


def std(*shape, seed=0):
    return 0.3 + randn(*shape, seed=seed).abs()


def root(*batch, seed=0):
    square = randn(*batch, DIM, DIM, seed=seed)
    return torch.linalg.cholesky(square @ square.mT + torch.eye(DIM, dtype=torch.float64))


def low_rank(rank, seed=0):
    return LowRankScale(std(DIM, seed=seed), randn(DIM, rank, seed=seed + 1))


KINDS = {
    "diagonal": lambda: DiagonalScale(std(DIM)),
    "diagonal of a batch": lambda: DiagonalScale(std(5, DIM)),
    "rank 1": lambda: low_rank(1),
    "rank 3": lambda: low_rank(3),
    "full rank": lambda: low_rank(DIM),
    "scaled": lambda: ScaledCorrelation(std(5, DIM, seed=2), low_rank(2)),
    "scaled full": lambda: ScaledCorrelation(std(5, DIM, seed=2), FullScale(root())),
    "full": lambda: FullScale(root()),
    "full of a batch": lambda: FullScale(root(5)),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def scale(request):
    return request.param()


def reference(scale):
    return MultivariateNormal(torch.zeros(DIM, dtype=torch.float64), scale.covariance())


@pytest.mark.parametrize("batch", [(5,), (3, 5), (3, 1)])
def test_log_density_is_that_of_a_normal_with_its_covariance(scale, batch):
    residual = randn(*batch, DIM, seed=7)
    expected = reference(scale).log_prob(residual)
    torch.testing.assert_close(scale.log_density(residual), expected)


def test_one_residual_against_a_batch_of_scales_has_one_density_each():
    residual = randn(DIM, seed=7)
    for scale in (DiagonalScale(std(5, DIM)), FullScale(root(5)), KINDS["scaled"]()):
        density = scale.log_density(residual)
        assert density.shape == (5,)
        torch.testing.assert_close(density, reference(scale).log_prob(residual))


def test_factor_times_its_transpose_is_the_covariance_and_variance_its_diagonal(scale):
    factor = scale.factor()
    torch.testing.assert_close(factor @ factor.mT, scale.covariance())
    torch.testing.assert_close(scale.variance(), scale.covariance().diagonal(dim1=-2, dim2=-1))


def test_a_step_of_length_dt_has_dt_times_the_covariance(scale):
    torch.testing.assert_close(scale.times(0.37).covariance(), 0.37 * scale.covariance())


def test_apply_is_the_factor_times_the_noise(scale):
    noise = randn(3, 5, scale.channels, seed=3)
    expected = (scale.factor() @ noise[..., None])[..., 0]
    torch.testing.assert_close(scale.apply(noise), expected)


def test_applied_noise_has_its_covariance(scale):
    draws = 20_000
    sample = scale.apply(randn(draws, 5, scale.channels, seed=4))
    wanted = scale.covariance().expand(5, DIM, DIM)
    found = torch.einsum("nbi,nbj->bij", sample, sample) / draws
    variance = wanted.diagonal(dim1=-2, dim2=-1)
    # Var[x_i x_j] = S_ii S_jj + S_ij^2 for a centred normal
    stderr = ((variance[..., None] * variance[:, None] + wanted.square()) / draws).sqrt()
    # 4.5: there are 5 x 10 entries, each a normal deviate
    assert ((found - wanted).abs() / stderr).max() < 4.5


def test_one_noise_applied_by_a_batch_of_scales_gives_one_residual_each():
    noise = randn(DIM, seed=3)
    assert DiagonalScale(std(5, DIM)).apply(noise).shape == (5, DIM)
    assert FullScale(root(5)).apply(noise).shape == (5, DIM)


def test_a_noise_of_the_wrong_size_is_refused(scale):
    with pytest.raises(Exception, match=r"shape|size|dimension|Type"):
        scale.log_density(randn(3, 5, DIM + 1))


@pytest.mark.parametrize("kind", ["diagonal of a batch", "rank 3", "scaled", "full of a batch"])
def test_gradients_of_the_density_reach_every_parameter(kind):
    scale = KINDS[kind]()
    parts = vars(scale.correlation) | {"std": scale.std} if kind == "scaled" else vars(scale)
    for tensor in parts.values():
        tensor.requires_grad_()
    scale.log_density(randn(3, 5, DIM, seed=7)).sum().backward()
    for name, tensor in parts.items():
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        assert tensor.grad.abs().sum() > 0, name


def test_woodburys_gradient_is_that_of_the_dense_covariance():
    scale = low_rank(2)
    parts = [scale.std.requires_grad_(), scale.columns.requires_grad_()]
    residual = randn(6, DIM, seed=7)
    fast = torch.autograd.grad(scale.log_density(residual).sum(), parts)
    dense = torch.autograd.grad(reference(scale).log_prob(residual).sum(), parts)
    for found, expected in zip(fast, dense, strict=True):
        torch.testing.assert_close(found, expected)


@settings(max_examples=25, deadline=None)
@given(dim=st.integers(1, 6), rank=st.integers(1, 8), seed=st.integers(0, 2**30))
def test_woodburys_density_is_the_dense_one_at_any_rank(dim, rank, seed):
    scale = LowRankScale(std(dim, seed=seed), randn(dim, rank, seed=seed + 1))
    residual = randn(3, dim, seed=seed + 2)
    zero = torch.zeros(dim, dtype=torch.float64)
    dense = MultivariateNormal(zero, scale.covariance()).log_prob(residual)
    torch.testing.assert_close(scale.log_density(residual), dense, rtol=1e-6, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(0.01, 100), seed=st.integers(0, 2**30))
def test_a_larger_unit_lowers_the_density_by_its_logarithm(factor, seed):
    scale, residual = low_rank(2, seed=seed), randn(3, DIM, seed=seed + 2)
    scaled = scale.times(factor**2).log_density(residual * factor)
    expected = scale.log_density(residual) - DIM * math.log(factor)
    torch.testing.assert_close(scaled, expected, rtol=1e-7, atol=1e-7)


def test_unit_deviations_around_a_scale_leave_it_as_it_is():
    residual, inner = randn(6, DIM, seed=7), low_rank(2)
    outer = ScaledCorrelation(torch.ones(6, DIM, dtype=torch.float64), inner)
    torch.testing.assert_close(outer.log_density(residual), inner.log_density(residual))
