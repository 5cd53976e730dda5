"""Intervals over documents hold what they say, also of few documents."""

import pytest
import torch

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.seeds import generator


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_documents_without_observations_are_never_drawn():
    counts = torch.tensor([3.0, 0.0, 2.0, 4.0])
    found = Bootstrap.of(counts, seed=0, replicates=50)
    assert found.documents == 3
    assert (found.weights.sum(1) == 3).all()
    assert (found.weights[:, 1] == 0).all()


def test_a_quantile_of_one_document_of_twenty_has_no_interval():
    counts, unit = torch.ones(20), torch.tensor([7, 7, 7])
    rows = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    found = Bootstrap.of(counts, seed=0).quantile(rows, unit, 0.5)
    assert float(found.value) == 2
    assert all(each.isnan() for each in (found.stderr, found.low, found.high))


def test_a_quantile_is_as_sure_as_if_documents_without_rows_were_not_there():
    """Replicates that draw none of the twelve documents are not the smallest value."""
    rows = 10 + drawn(36)
    alone = Bootstrap.of(torch.ones(12), seed=0).quantile(rows, torch.arange(36) % 12, 0.5)
    among = Bootstrap.of(torch.ones(60), seed=0).quantile(rows, torch.arange(36) % 12, 0.5)
    assert float(among.value) == float(alone.value)
    assert float(among.stderr / alone.stderr) == pytest.approx(1, abs=0.25)
    assert float(among.low) >= float(rows.min())
    # at n = 60 the tails are narrower than at n = 12
    assert among.high - among.low == pytest.approx(float(alone.high - alone.low), rel=0.3)


def test_a_quantile_of_fewer_than_ten_documents_has_an_error_and_no_interval():
    rows = drawn(9)
    few = Bootstrap.of(torch.ones(9), seed=0).quantile(rows, torch.arange(9), 0.5)
    assert few.stderr > 0
    assert few.low.isnan()
    assert few.high.isnan()


def test_sums_by_unit_add_all_rows_of_a_unit():
    values = torch.arange(8.0).reshape(2, 4)
    found = by_unit(values, torch.tensor([2, 0, 2, 0]), 3)
    assert found.tolist() == [[4, 0, 2], [12, 0, 10]]


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
