"""Distances from the standard normal, by bins, against scipy's from the numbers themselves."""

import pytest
import torch
from scipy.stats import kstest, kurtosis

from sdelens.evidence.normality import NormalScores, expected_distance
from sdelens.seeds import generator


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def counted(values, parts=3):
    scores = NormalScores(values.shape[1])
    for part in values.chunk(parts):
        scores.add(part)
    return scores


def test_distance_quantiles_and_moments_are_those_of_the_numbers():
    values = torch.stack([drawn(4_000), 1.3 * drawn(4_000, seed=1), drawn(4_000) ** 3], dim=1)
    scores = counted(values)
    assert scores.count == 4_000
    for column, distance in zip(values.mT, scores.distance().tolist(), strict=True):
        assert distance == pytest.approx(kstest(column.numpy(), "norm").statistic, abs=0.003)
    shares = torch.tensor([0.05, 0.5, 0.9], dtype=torch.float64)
    # of the last, which has gaps wider than a bin, the quantiles depend on the rule
    known = values[:, :2].quantile(shares, dim=0).mT
    assert torch.allclose(scores.quantiles(shares)[:2], known, atol=0.01)
    excess = scores.moment(4) / scores.moment(2) ** 2 - 3
    assert float(excess[1]) == pytest.approx(kurtosis(values[:, 1]), abs=0.01)


def test_the_expected_distance_is_the_mean_of_that_of_normal_numbers():
    found = counted(drawn(1_000, 400)).distance()
    error = float(found.std()) / 400**0.5
    # Kolmogorov's limit is approached from above, by 1/(6n) relative to sqrt(n) (Marsaglia 2003)
    assert abs(float(found.mean()) - expected_distance(1_000)) < 4 * error + 0.001


def test_numbers_out_of_range_are_counted_in_the_last_bins():
    scores = counted(torch.tensor([[-50.0], [50.0], [0.0], [0.0]], dtype=torch.float64), parts=1)
    assert scores.count == 4
    assert float(scores.distance()) == pytest.approx(0.25, abs=1e-2)
