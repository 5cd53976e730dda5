"""Intervals of ratios of sums over documents hold the truth as often as they say."""

import math

import pytest
import torch

from sdelens.estimation.ratio import FEWEST, Ratio, Ratios
from sdelens.seeds import generator


def effects(shape, kind, seed=0):
    """Document effects and the truth of their mean."""
    z = torch.randn(shape, generator=generator(seed, kind), dtype=torch.float64)
    return (z.exp(), math.exp(0.5)) if kind == "lognormal" else (z, 0.0)


def coverage(documents, kind, *, unequal, trials=4000):
    """How often the interval holds the truth when whole documents vary."""
    values, truth = effects((trials, documents), kind)
    counts = torch.ones_like(values)
    if unequal:
        counts = torch.randint(20, 201, values.shape, generator=generator(1)).double()
    low, high = Ratios.of(values * counts, counts).ends()
    return float(((low <= truth) & (truth <= high)).double().mean())


@pytest.mark.parametrize("unequal", [False, True])
@pytest.mark.parametrize("documents", [10, 20, 50])
def test_nominal_95_percent_intervals_of_normal_documents_hold_95_percent(documents, unequal):
    # the standard error is .003; ratios of ten unequal documents have the third order left
    assert abs(coverage(documents, "normal", unequal=unequal) - 0.95) < 0.02


@pytest.mark.parametrize(
    ("documents", "student", "least"), [(10, 0.85, 0.895), (30, 0.885, 0.91), (100, 0.93, 0.93)]
)
def test_intervals_of_lognormal_documents_hold_the_truth_more_often_than_students(
    documents, student, least
):
    values, truth = effects((4000, documents), "lognormal")
    found = Ratios.of(values, torch.ones_like(values))
    plain = Ratios(found.value, found.stderr, found.units, 0 * found.shift, 0 * found.shift)
    low, high = plain.ends()
    held = float(((low <= truth) & (truth <= high)).double().mean())
    assert abs(held - student) < 0.02
    assert coverage(documents, "lognormal", unequal=False) > max(least, held)


def test_symmetric_documents_have_students_interval():
    found = Ratio.of(torch.arange(-6.0, 7.0), torch.ones(13))
    low, high = found.ends()
    # Student's quantile with 11 degrees of freedom
    assert (high - low) / 2 / found.stderr == pytest.approx(2.201, abs=1e-3)


def test_the_interval_of_the_mirrored_sums_is_the_mirror_image():
    values, _ = effects((20,), "lognormal")
    low, high = Ratio.of(values, torch.ones(20)).ends()
    assert Ratio.of(-values, torch.ones(20)).ends() == pytest.approx((-high, -low))
    assert (1.0 - Ratio.of(values, torch.ones(20))).ends() == pytest.approx((1 - high, 1 - low))
    assert high - float(values.mean()) > float(values.mean()) - low  # the long tail is above


def test_intervals_do_not_depend_on_the_units_of_either_sum():
    values, _ = effects((15,), "lognormal")
    counts = torch.randint(20, 200, (15,), generator=generator(2)).double()
    low, high = Ratio.of(values * counts, counts).ends()
    scaled = Ratio.of(1000 * values * counts, 1e6 * counts).ends()
    assert scaled == pytest.approx((low / 1000, high / 1000))


def test_the_standard_error_is_that_of_the_linearised_ratio():
    counts = torch.randint(20, 200, (60,), generator=generator(0)).double()
    sums = counts * (0.3 + effects((60,), "normal")[0])
    found = Ratio.of(sums, counts)
    ratio = sums.sum() / counts.sum()
    linear = (sums - ratio * counts).square().sum().sqrt() / counts.sum()
    assert found.value == pytest.approx(float(ratio))
    assert found.stderr == pytest.approx(float(linear) * (60 / 59) ** 0.5)


def test_fewer_than_ten_documents_have_an_error_and_no_interval():
    values, _ = effects((FEWEST,), "normal")
    few, enough = (Ratio.of(values[:n], torch.ones(n)) for n in (FEWEST - 1, FEWEST))
    assert few.stderr > 0
    assert all(math.isnan(end) for end in few.ends())
    assert enough.ends()[0] < enough.value < enough.ends()[1]


def test_documents_without_observations_are_not_counted():
    counts = torch.ones(12)
    counts[9:] = 0
    found = Ratio.of(torch.arange(12.0) * counts, counts)
    assert found.groups == 9
    assert math.isnan(found.ends()[0])


def test_equal_documents_have_an_interval_of_no_length():
    assert Ratio.of(torch.full((12,), 2.0), torch.ones(12)).ends() == (2.0, 2.0)
