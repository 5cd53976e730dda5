"""Standardised residuals against Cholesky's factor, their scores against scipy's."""

from dataclasses import dataclass

import pytest
import torch
from scipy.stats import chi2, norm

from sdelens.evidence.residuals import chi_square_score, directions, is_normal
from sdelens.laws.law import Gaussian, Law
from sdelens.laws.mixture import Mixture
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, FullScale, ScaledCorrelation
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


STD = drawn(5, seed=1).abs() + 0.5
LOW_RANK = LowRankScale(STD, drawn(5, 2, seed=2))
FULL = FullScale(drawn(5, 5, seed=3).tril(-1) + STD.diag())
VARYING = drawn(7, 3, 5, seed=4).abs() + 0.5
SCALES = {
    "diagonal": DiagonalScale(STD),
    "varying diagonal": DiagonalScale(VARYING),
    "low rank": LOW_RANK,
    "full": FULL,
    "varying full": FullScale(VARYING[..., None] * FULL.root),
    "scaled low rank": ScaledCorrelation(VARYING, LOW_RANK),
    "scaled full": ScaledCorrelation(VARYING, FULL),
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_residuals_are_solved_by_the_lower_factor_of_the_covariance(scale):
    residual = drawn(7, 3, 5)
    root = torch.linalg.cholesky(scale.covariance())
    expected = torch.linalg.solve(root, residual[..., None])[..., 0]
    assert torch.allclose(scale.whiten(residual), expected, rtol=1e-9)


def test_the_length_and_the_volume_give_the_log_density():
    residual, scale = drawn(7, 3, 5), SCALES["scaled low rank"]
    squares = scale.whiten(residual).square().sum(-1)
    volume = torch.linalg.slogdet(2 * torch.pi * scale.covariance())[1]
    assert torch.allclose(-(squares + volume) / 2, scale.log_density(residual))


@pytest.mark.parametrize("dim", [1, 16, 768])
def test_scores_of_lengths_are_normal_quantiles_far_into_both_tails(dim):
    shares = torch.tensor([1e-12, 1e-3, 0.5, 0.9, 1 - 1e-3], dtype=torch.float64)
    squares = torch.as_tensor(chi2.ppf(shares, dim))
    far = torch.as_tensor(chi2.isf([1e-12], dim))
    found = chi_square_score(torch.cat([squares, far]), dim)
    expected = torch.as_tensor([*norm.ppf(shares), norm.isf(1e-12)])
    assert torch.allclose(found, expected, atol=1e-5)


def test_lengths_out_of_all_proportion_have_a_finite_score():
    squares = torch.tensor([0.0, 1e9], dtype=torch.float64)
    assert chi_square_score(squares, 4).tolist() == [-8, 8]


def test_directions_are_unit_vectors_spread_evenly():
    found = directions(3, 20_000, seed=0)
    assert torch.allclose(found.norm(dim=0), torch.ones(20_000).double())
    # E[vv'] = I/3, and v_i^2 has the variance 4/45
    assert torch.allclose(
        found @ found.mT / 20_000, torch.eye(3).double() / 3, atol=4 * (4 / 45 / 20_000) ** 0.5
    )
    assert torch.equal(found, directions(3, 20_000, seed=0))
    assert not torch.equal(found, directions(3, 20_000, seed=1))


@dataclass(frozen=True, eq=False)
class Fixed(Law):
    """The same law after every state."""

    parts: tuple[float, ...]

    def predict(self, past):
        still = torch.zeros_like(past.states)
        parts = tuple(Gaussian(still + a, DiagonalScale(torch.ones(3))) for a in self.parts)
        even = torch.zeros(*still.shape[:-1], len(parts)).log_softmax(-1)
        return Mixture(even, parts)

    def tensors(self):
        return {}


def test_a_mixture_is_normal_only_where_its_parts_are_the_same():
    block = Trajectories.from_states(torch.randn(4, 10, 3, generator=generator(8)), 1.0)
    assert is_normal(Fixed((0.3, 0.3)), block)
    assert not is_normal(Fixed((-1.0, 1.0)), block)
