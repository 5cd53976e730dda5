"""Agreement of rankings against scipy's, and shuffled ones against chance."""

import pytest
import torch
from scipy.stats import kendalltau

from sdelens.evidence.rank_correlation import by_chance, chance_of, kendall
from sdelens.seeds import generator


@pytest.mark.parametrize("ties", [False, True])
def test_tau_is_scipys(ties):
    random = generator(0)
    first, second = torch.randn(5, 12, generator=random), torch.randn(5, 12, generator=random)
    if ties:
        first, second = first.round(), second.round()
    seen = torch.arange(12) < torch.tensor([12, 9, 5, 3, 2])[:, None]
    found = kendall(first, second, seen)
    for row, n in enumerate((12, 9, 5, 3, 2)):
        expected = kendalltau(first[row, :n], second[row, :n]).statistic
        assert float(found[row]) == pytest.approx(float(expected), nan_ok=True)


def test_a_ranking_agrees_with_itself_and_opposes_its_reverse():
    x = torch.randn(3, 8, generator=generator(1))
    seen = torch.ones(3, 8, dtype=torch.bool)
    assert torch.equal(kendall(x, x.exp(), seen), torch.ones(3, dtype=torch.float64))
    assert torch.equal(kendall(x, -x, seen), -torch.ones(3, dtype=torch.float64))


def test_without_an_order_there_is_no_agreement():
    seen = torch.ones(1, 4, dtype=torch.bool)
    assert kendall(torch.zeros(1, 4), torch.randn(1, 4), seen).isnan().all()


def test_shuffled_rankings_have_the_known_spread():
    random = generator(2)
    texts, n, draws = 40, 10, 400
    first, second = (torch.randn(texts, n + 3, generator=random) for _ in range(2))
    seen = torch.arange(n + 3).ge(3).expand(texts, -1)  # the first three do not count
    found = by_chance(first, second, seen, draws=draws, seed=0)
    # Kendall (1938): without association tau has variance 2(2n+5) / 9n(n-1)
    std = (2 * (2 * n + 5) / (9 * n * (n - 1)) / texts) ** 0.5
    assert abs(float(found.mean())) < 4 * std / draws**0.5
    assert abs(float(found.std()) / std - 1) < 4 / (2 * draws) ** 0.5


def test_chance_is_small_for_agreement_and_not_for_none():
    random = generator(3)
    first = torch.randn(20, 10, generator=random)
    seen = torch.ones(20, 10, dtype=torch.bool)
    draws = by_chance(first, first, seen, draws=199, seed=0)
    assert chance_of(1.0, draws) == pytest.approx(1 / 200)
    assert chance_of(float(draws.abs().min()), draws) == 1.0
