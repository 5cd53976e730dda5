"""The settings of analyzers for a first look."""

import math

import pytest

from sdelens.interfaces import load
from sdelens.protocols import QuickAnalyzer
from sdelens.registry import plugins
from sdelens.settings import build

QUICK = [name for name in plugins("analyzer") if isinstance(load("analyzer", name), QuickAnalyzer)]
HEADLINES = {
    "gaussianity": "divergence",
    "importance": "last token's share of integrated gradients, drift",
    "readout": "rank of drift among increments of training texts, through",
    "goodness_of_fit": "gain",
}
"""The beginning of the names of the estimates that headlines quote."""


def test_the_longest_analyzers_have_settings_for_a_first_look():
    costly = {name for name in plugins("analyzer") if load("analyzer", name).cost != "seconds"}
    assert costly - {"verdict"} <= set(QUICK)


@pytest.mark.parametrize("name", HEADLINES)
def test_a_first_look_finds_the_same_numbers_within_their_errors(study, name):
    kind = load("analyzer", name)
    whole, quick = (build(kind, own, name).analyze(study, seed=0) for own in ({}, kind.quick))
    found = {estimate.name: estimate for estimate in whole.estimates}
    pairs = [
        (found[estimate.name], estimate)
        for estimate in quick.estimates
        if estimate.name.startswith(HEADLINES[name]) and estimate.name in found
    ]
    assert pairs, [estimate.name for estimate in quick.estimates]
    for one, other in pairs:
        error = math.hypot(one.stderr or 0.0, other.stderr or 0.0)
        assert abs(one.value - other.value) <= 4 * error + 1e-6 * abs(one.value), one.name
