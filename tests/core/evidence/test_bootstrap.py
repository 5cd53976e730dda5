"""Intervals over documents hold what they say, also of few documents."""

import pytest
import torch

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.seeds import generator


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def coverage(documents, trials=800):
    """How often the interval of a ratio holds the truth, 0.3, when whole documents vary."""
    counts = torch.randint(20, 200, (trials, documents), generator=generator(0)).double()
    sums = counts * (0.3 + drawn(trials, documents, seed=1))
    found = Bootstrap.of(torch.ones(documents), seed=0, replicates=1000).ratio(sums, counts)
    return float(((found.low <= 0.3) & (found.high >= 0.3)).double().mean())


def test_nominal_95_percent_intervals_over_forty_documents_hold_95_percent():
    assert abs(coverage(40) - 0.95) < 4 * (0.95 * 0.05 / 800) ** 0.5


def test_intervals_over_twelve_documents_hold_more_than_the_plain_percentile_one():
    # ratios of unequal documents: the plain percentile interval of 12 holds about .88
    assert coverage(12) > 0.91


def test_the_standard_error_is_that_of_the_ratio():
    counts = torch.randint(20, 200, (60,), generator=generator(0)).double()
    sums = counts * (0.3 + drawn(60, seed=1))
    found = Bootstrap.of(counts, seed=0).ratio(sums, counts)
    ratio = sums.sum() / counts.sum()
    linear = (sums - ratio * counts).square().sum().sqrt() / counts.sum()
    assert torch.allclose(found.value, ratio)
    assert abs(float(found.stderr / linear) - 1) < 0.1  # 2000 replicates: 1.6%; n/(n-1): 1.7%


def test_documents_without_observations_are_never_drawn():
    counts = torch.tensor([3.0, 0.0, 2.0, 4.0])
    found = Bootstrap.of(counts, seed=0, replicates=50)
    assert found.documents == 3
    assert (found.weights.sum(1) == 3).all()
    assert (found.weights[:, 1] == 0).all()


def test_one_document_has_a_value_and_no_interval():
    found = Bootstrap.of(torch.tensor([5.0, 0.0]), seed=0).ratio(
        torch.tensor([10.0, 0.0]).double(), torch.tensor([5.0, 0.0]).double()
    )
    assert float(found.value) == 2
    assert found.stderr.isnan()
    assert found.low.isnan()


def test_a_quantile_of_one_document_of_twenty_has_no_interval():
    counts, unit = torch.ones(20), torch.tensor([7, 7, 7])
    rows = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    found = Bootstrap.of(counts, seed=0).quantile(rows, unit, 0.5)
    assert float(found.value) == 2
    assert all(each.isnan() for each in (found.stderr, found.low, found.high))


def test_a_quantile_is_as_sure_as_if_documents_without_rows_were_not_there():
    """Replicates that draw none of the few documents are not the smallest value."""
    rows = 10 + drawn(9)
    alone = Bootstrap.of(torch.ones(3), seed=0).quantile(rows, torch.arange(9) % 3, 0.5)
    among = Bootstrap.of(torch.ones(20), seed=0).quantile(rows, torch.arange(9) % 3, 0.5)
    assert float(among.value) == float(alone.value)
    assert float(among.stderr / alone.stderr) == pytest.approx(1, abs=0.25)
    assert float(among.low) >= float(rows.min())
    # at n = 20 the tails are narrower than at n = 3
    assert among.high - among.low == pytest.approx(float(alone.high - alone.low), rel=0.3)


def test_sums_by_unit_add_all_rows_of_a_unit():
    values = torch.arange(8.0).reshape(2, 4)
    found = by_unit(values, torch.tensor([2, 0, 2, 0]), 3)
    assert found.tolist() == [[4, 0, 2], [12, 0, 10]]


def test_a_series_of_few_documents_has_the_interval_of_few():
    random = generator(0)
    above = torch.randn(4, 12, generator=random, dtype=torch.float64)
    below = torch.ones(4, 12, dtype=torch.float64)
    for series, seen in ((1, 1), (2, 2), (3, 4)):
        above[series, seen:], below[series, seen:] = 0, 0
    found = Bootstrap.of(below.sum(0), seed=0).ratio(above, below)
    assert found.value.isfinite().all()
    assert found.stderr.isnan().tolist() == [False, True, False, False]
    assert found.low.isnan().tolist() == [False, True, False, False]
    whole, few = (found.high - found.low)[[0, 3]] / above[[0, 3]].std(-1)
    assert few > whole


def test_quantiles_of_rows_are_order_statistics():
    values = drawn(3, 41)
    bootstrap = Bootstrap.of(torch.ones(41), seed=0, replicates=50)
    for share in (0.25, 0.5, 0.75):
        found = bootstrap.quantile(values, torch.arange(41), share)
        # the smallest value up to which there is so much: row 11, 21, 31 of 41
        assert torch.equal(found.value, values.sort(-1).values[:, int(share * 40)])


def test_intervals_of_the_median_hold_the_truth_where_rows_of_a_document_agree():
    """Four equal rows a document tell no more than one: the median of the documents."""
    trials, documents = 200, 60
    values = drawn(trials, documents, seed=3).repeat_interleave(4, dim=1)
    unit = torch.arange(documents).repeat_interleave(4)
    bootstrap = Bootstrap.of(torch.ones(documents), seed=0, replicates=400)
    found = bootstrap.quantile(values, unit, 0.5)
    held = float(((found.low <= 0) & (found.high >= 0)).double().mean())
    assert abs(held - 0.95) < 4 * (0.95 * 0.05 / trials) ** 0.5
    # of the median of normal values: sqrt(pi / 2) times that of the mean
    stderr = (torch.pi / 2 / documents) ** 0.5
    assert abs(float(found.stderr.mean()) - stderr) < 0.15 * stderr
