"""Rank correlations against scipy, and their errors against documents that share something."""

import math

import pytest
import torch
from scipy.stats import rankdata, spearmanr

from sdelens.evidence.rank_correlation import (
    chance,
    holm,
    rank_correlation,
    weighted_spearman,
)
from sdelens.seeds import generator


def drawn(*shape, seed):
    return torch.randn(*shape, generator=generator(0, seed), dtype=torch.float64)


def tied(count, seed):
    """Two columns that are related, with many ties."""
    x = drawn(count, seed=seed)
    return x.round(), (x + drawn(count, seed=seed + 1)).round()


def test_without_weights_it_is_scipys_with_ties():
    x, y = tied(200, seed=0)
    found = weighted_spearman([x, y], torch.ones(1, 200, dtype=torch.float64))
    assert float(found) == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


def test_a_weight_is_that_many_copies_of_a_row():
    x, y = tied(100, seed=2)
    times = torch.randint(0, 4, (5, 100), generator=generator(3))
    found = weighted_spearman([x, y], times.double())
    for own, value in zip(times, found, strict=True):
        copies = (column.repeat_interleave(own) for column in (x, y))
        assert float(value) == pytest.approx(spearmanr(*copies).statistic, abs=1e-12)


def test_the_partial_one_is_that_of_residuals_of_ranks():
    z = drawn(300, seed=4)
    x, y = z + drawn(300, seed=5), z + drawn(300, seed=6)
    ranks = torch.stack([torch.tensor(rankdata(column)) for column in (x, y, z)])
    precision = torch.linalg.inv(torch.corrcoef(ranks))
    expected = -precision[0, 1] / (precision[0, 0] * precision[1, 1]).sqrt()
    found = weighted_spearman([x, y, z], torch.ones(1, 300, dtype=torch.float64))
    assert float(found) == pytest.approx(float(expected), abs=1e-10)


def test_holding_what_does_not_vary_takes_nothing_away():
    x, y = tied(80, seed=7)
    one = torch.ones(1, 80, dtype=torch.float64)
    still = torch.full((80,), 3.0, dtype=torch.float64)
    plain, held = weighted_spearman([x, y], one), weighted_spearman([x, y, still], one)
    assert float(plain) == pytest.approx(float(held))
    assert chance(x, y, seed=0) == chance(x, y, held=still, seed=0)


def test_intervals_over_documents_hold_zero_at_their_nominal_rate_and_those_over_rows_do_not():
    documents, length, trials = 25, 8, 200
    unit = torch.arange(documents).repeat_interleave(length)
    rows = torch.arange(documents * length)
    held = {"documents": 0, "rows": 0}
    for trial in range(trials):
        # both share a level within a document, and nothing between them
        x, y = (
            drawn(documents, seed=(trial, side))[unit] + drawn(len(unit), seed=(trial, side, "e"))
            for side in "xy"
        )
        for name, own in (("documents", unit), ("rows", rows)):
            low, high = rank_correlation(x, y, own, seed=trial, replicates=200).interval()
            held[name] += low <= 0 <= high
    error = math.sqrt(0.95 * 0.05 / trials)
    assert abs(held["documents"] / trials - 0.95) < 4 * error
    assert held["rows"] / trials < 0.95 - 4 * error


def test_chance_alone_has_small_p_values_as_often_as_they_say():
    trials = 300
    small = {"plain": 0, "held": 0}
    for trial in range(trials):
        z = drawn(15, seed=(trial, "z"))
        x, y = (2 * z + drawn(15, seed=(trial, side)) for side in "xy")
        small["plain"] += chance(x, y, seed=trial, permutations=99) <= 0.05
        small["held"] += chance(x, y, held=z, seed=trial, permutations=99) <= 0.05
    error = math.sqrt(0.95 * 0.05 / trials)
    # ranks of what is linear are not quite linear, so that a little of z is left
    assert small["held"] / trials < 0.05 + 4 * error + 0.05
    assert small["plain"] / trials > 0.5


def test_the_least_p_value_is_one_in_all_permutations():
    x = torch.arange(20.0)
    assert chance(x, x, seed=0, permutations=999) == pytest.approx(1 / 1000)
    assert chance(x, -x, seed=0, permutations=999) == pytest.approx(1 / 1000)


def test_columns_that_do_not_vary_have_no_correlation():
    x = torch.arange(20.0)
    found = rank_correlation(x, torch.ones(20), torch.arange(20), seed=0, replicates=50)
    assert math.isnan(found.value)
    assert math.isnan(chance(x, torch.ones(20), seed=0))


def test_rows_without_a_number_do_not_count():
    x, y = tied(60, seed=8)
    longer = [torch.cat([column, torch.tensor([math.nan, 5.0])]) for column in (x, y)]
    longer[1][-1] = math.nan
    whole = rank_correlation(*longer, torch.arange(62), seed=0)
    part = rank_correlation(x, y, torch.arange(60), seed=0)
    assert whole.value == part.value
    assert whole.documents == 60


def test_one_document_has_a_value_and_no_interval():
    x, y = tied(30, seed=9)
    found = rank_correlation(x, y, torch.zeros(30, dtype=torch.long), seed=0)
    assert found.documents == 1
    assert all(math.isnan(end) for end in found.interval())


def test_holms_correction_keeps_order_and_leaves_out_what_is_not_known():
    assert holm([0.5, math.nan, 0.01]) == [0.5, pytest.approx(math.nan, nan_ok=True), 0.02]
    assert holm([0.9, 0.8]) == [1.0, 1.0]
