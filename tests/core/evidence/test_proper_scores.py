"""Proper scores against integrals, and without the bias of few draws."""

import pytest
import torch
from scipy.stats import norm

from sdelens.evidence.proper_scores import energy_score, gaussian_crps, moment_matched_nll
from sdelens.seeds import generator


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def error(values):
    return float(values.std() / len(values) ** 0.5)


def test_the_crps_is_the_integral_of_squared_distances_to_the_step():
    mean, std, y = (torch.tensor([v], dtype=torch.float64) for v in (0.3, 1.7, -2.1))
    grid = torch.linspace(-30, 30, 600_001, dtype=torch.float64)
    steps = (torch.as_tensor(norm.cdf(grid, 0.3, 1.7)) - (grid >= -2.1).double()).square()
    assert float(gaussian_crps(mean, std, y)) == pytest.approx(
        float(torch.trapezoid(steps, grid)), abs=2e-4
    )


@pytest.mark.parametrize("draws", [2, 8])
def test_the_energy_score_of_few_draws_is_the_crps_on_average(draws):
    y = 1.4 * drawn(20_000, 1)
    found = energy_score(drawn(20_000, draws, 1, seed=1), y)
    exact = gaussian_crps(torch.zeros_like(y), torch.ones_like(y), y)[:, 0]
    assert abs(float((found - exact).mean())) < 4 * error(found - exact)


def test_the_truth_has_a_lower_energy_score_than_a_narrow_or_a_shifted_law():
    y, draws = drawn(4_000, 3), drawn(4_000, 16, 3, seed=1)
    truth = energy_score(draws, y)
    for other in (0.6 * draws, draws + 0.5):
        worse = energy_score(other, y) - truth
        assert float(worse.mean()) > 4 * error(worse)


def test_the_likelihood_of_matched_moments_has_no_bias_from_few_draws():
    y = 0.5 + 2 * drawn(40_000, 1)
    draws = 0.2 + 1.5 * drawn(40_000, 8, 1, seed=1)
    found = moment_matched_nll(draws, y)[:, 0]
    exact = -torch.as_tensor(norm.logpdf(y[:, 0], 0.2, 1.5))
    assert abs(float((found - exact).mean())) < 4 * error(found - exact)
