"""Intervals keep their four numbers together under changes of unit, shape and sign."""

import torch

from sdelens.evidence.interval import Interval


def interval(*numbers):
    return Interval(*(torch.tensor(number, dtype=torch.float64) for number in numbers))


def numbers_of(found):
    return [each.tolist() for each in found.tensors().values()]


def test_a_mapped_interval_has_the_function_of_all_four_numbers():
    assert numbers_of(interval(0.5, 0.25, 0.0, 1.0).map(lambda end: 100 * end)) == [50, 25, 0, 100]


def test_an_increasing_function_moves_value_and_ends_and_leaves_no_error():
    value, error, *ends = numbers_of(interval(4.0, 1.0, 2.0, 8.0).increasing(torch.log2))
    assert (value, *ends) == (2.0, 1.0, 3.0)
    assert error != error


def test_stacked_intervals_are_indexed_back_into_the_same_ones():
    parts = [interval(1.0, 2.0, 3.0, 4.0), interval(5.0, 6.0, 7.0, 8.0)]
    whole = Interval.stack(parts)
    assert whole.value.shape == (2,)
    assert [numbers_of(whole[k]) for k in range(2)] == [numbers_of(part) for part in parts]


def test_what_is_left_of_one_swaps_the_ends_and_keeps_the_error():
    assert numbers_of(1.0 - interval(0.25, 0.5, 0.0, 0.75)) == [0.75, 0.5, 0.25, 1.0]


def test_the_error_of_a_root_is_by_the_delta_method():
    assert numbers_of(interval(4.0, 2.0, 1.0, 9.0).sqrt()) == [2.0, 0.5, 1.0, 3.0]


def test_students_intervals_are_wide_for_few_groups():
    value, stderr = torch.zeros(1).double(), torch.ones(1).double()
    assert abs(float(Interval.student(value, stderr, 2).high) - 12.706) < 1e-3
    assert abs(float(Interval.student(value, stderr, 1000).high) - 1.962) < 1e-3


def test_a_ratio_of_each_series_has_the_interval_of_its_own_number_of_documents():
    above = torch.randn(4, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    below = torch.ones(4, 12, dtype=torch.float64)
    for series, seen in ((1, 1), (2, 2), (3, 10)):
        above[series, seen:], below[series, seen:] = 0, 0
    found = Interval.ratio(above, below)
    assert found.value.isfinite().all()
    assert found.stderr.isnan().tolist() == [False, True, False, False]
    assert found.low.isnan().tolist() == [False, True, True, False]
    one = Interval.ratio(above[3, :10], below[3, :10])
    assert float(one.low) == float(found.low[3])


def test_intervals_of_few_documents_keep_value_and_error_only():
    whole = interval(0.5, 0.25, 0.0, 1.0)
    assert numbers_of(whole.over(10)) == [0.5, 0.25, 0.0, 1.0]
    few = whole.over(9)
    assert numbers_of(few)[:2] == [0.5, 0.25]
    assert few.low.isnan()
    assert few.high.isnan()


def test_an_unknown_interval_keeps_its_value_only():
    found = Interval.unknown(torch.tensor([1.0, 2.0]))
    assert found.value.tolist() == [1.0, 2.0]
    assert all(end.isnan().all() for end in (found.stderr, found.low, found.high))
