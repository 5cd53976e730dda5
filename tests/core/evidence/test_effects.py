"""Intervals over documents that hold what they promise."""

import math

import pytest
import torch

from sdelens.estimation.ratio import Ratio, summed
from sdelens.evidence.effects import POWER, Effect, paired_gain
from sdelens.seeds import generator


def test_the_error_of_a_ratio_is_its_spread_over_replications():
    random = generator(0)
    sizes = torch.randint(5, 40, (2000, 30), generator=random).double()
    # documents differ in level: transitions of one are not independent
    level = torch.randn(2000, 30, generator=random).double()
    ratios = [
        Ratio.of(size * (0.5 + shift), size) for size, shift in zip(sizes, level, strict=True)
    ]
    values = torch.tensor([ratio.value for ratio in ratios])
    claimed = torch.tensor([ratio.stderr for ratio in ratios]).square().mean().sqrt()
    # 2,000 replications tell a deviation to 1.6%; linearisation is low by about 1/30
    assert float(values.std() / claimed) == pytest.approx(1, abs=0.08)


def test_an_effect_of_the_detectable_size_is_shown_four_times_in_five():
    stderr, groups = 0.002, 60
    least = Effect("e", 0.0, stderr, groups, 0.01)
    truth = least.detectable
    drawn = truth + stderr * torch.randn(4000, generator=generator(1)).double()
    shown = [Effect("e", value, stderr, groups, 0.01).shown for value in drawn.tolist()]
    error = math.sqrt(POWER * (1 - POWER) / 4000)
    assert sum(shown) / 4000 == pytest.approx(POWER, abs=4 * error)


def test_no_effect_is_shown_or_absent_from_one_document():
    effect = Effect("e", 5.0, 0.0, 1, 0.01)
    assert not effect.shown
    assert not effect.absent


def test_an_interval_on_the_threshold_shows_nothing():
    assert Effect("e", 0.02, 0.001, 100, 0.01).shown
    assert Effect("e", 0.0, 0.001, 100, 0.01).absent
    unsure = Effect("e", 0.012, 0.001, 100, 0.01)
    assert not unsure.shown
    assert not unsure.absent


def test_documents_without_transitions_are_no_sample():
    gains, group = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0, 0, 3])
    above, below = summed(gains, group, 5)
    assert above.tolist() == [4.0, 0.0, 0.0, 2.0, 0.0]
    assert below.tolist() == [2.0, 0.0, 0.0, 1.0, 0.0]
    effect = paired_gain("e", gains, group, 5, 0.01)
    assert effect.groups == 2
    assert effect.value == 2.0


def test_what_an_estimate_costs_keeps_an_effect_from_being_absent():
    free = Effect("memory", 0.0, 0.0001, 50, 0.005)
    dear = Effect("memory", 0.0, 0.0001, 50, 0.005, price=0.02)
    assert free.absent
    assert not dear.absent
    assert not dear.shown
    assert dear.detectable == pytest.approx(free.detectable + 0.02)
