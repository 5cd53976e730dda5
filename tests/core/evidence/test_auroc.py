"""Areas under the ROC curve against closed forms, and how often their intervals hold the truth."""

import math

import pytest
import torch
from scipy.stats import mannwhitneyu, norm

from sdelens.evidence.auroc import Scores, as_they_are, auroc, interval
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.seeds import generator


def weights(count, seed, replicates=500):
    return as_they_are(Bootstrap.of(torch.ones(count), seed=seed, replicates=replicates))


def normal(count, seed, mean=0.0, std=1.0):
    draws = torch.randn(count, generator=generator(0, seed), dtype=torch.float64)
    return mean + std * draws


def area(usual, unlike, seed=0, paired=False):
    own = weights(len(usual), seed)
    other = own if paired else weights(len(unlike), seed + 1)
    areas = auroc(Scores(usual, own), Scores(unlike, other))
    return interval(areas, min(len(usual), len(unlike)))


def test_it_is_mann_and_whitneys_share_of_pairs_with_ties():
    usual, unlike = normal(40, 0).round(), normal(30, 1, mean=0.5).round()
    pairs = mannwhitneyu(unlike, usual).statistic / (40 * 30)
    assert float(area(usual, unlike).value) == pytest.approx(pairs, abs=1e-12)


def test_of_two_normals_it_is_the_closed_form():
    count, mean, std = 3000, 1.0, 2.0
    truth = norm.cdf(mean / math.sqrt(1 + std**2))
    own = torch.ones(1, count, dtype=torch.float64)
    found = auroc(Scores(normal(count, 2), own), Scores(normal(count, 3, mean, std), own))
    # Hanley and McNeil (1982): the variance is at most A(1 - A)/min(m, n)
    assert abs(float(found) - truth) < 4 * math.sqrt(truth * (1 - truth) / count)


def test_intervals_hold_the_truth_at_their_nominal_rate():
    trials, truth = 200, norm.cdf(1 / math.sqrt(2))
    held = 0
    for trial in range(trials):
        found = area(normal(25, (trial, "a")), normal(25, (trial, "b"), mean=1.0), seed=trial)
        held += float(found.low) <= truth <= float(found.high)
    # the bootstrap's own error at 25 documents is about two points
    assert abs(held / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.02


def test_a_difference_of_paired_scores_is_surer_than_either():
    usual, unlike = normal(40, 5), normal(40, 6, mean=1.0)
    own = weights(40, 0)
    near = 0.05 * normal(40, 7)
    one = auroc(Scores(usual, own), Scores(unlike, own))
    other = auroc(Scores(usual + near, own), Scores(unlike, own))
    both = interval(one - other, 40, least=-1.0)
    assert float(both.stderr) < float(interval(one, 40).stderr) / 2


def test_perfect_order_has_the_interval_of_the_rule_of_three():
    found = area(torch.arange(20.0), torch.arange(20.0) + 100)
    assert float(found.value) == 1
    assert (float(found.low), float(found.high)) == (pytest.approx(1 - 3 / 20), 1)


def test_one_document_has_no_interval():
    found = area(torch.zeros(1), torch.ones(1))
    assert float(found.value) == 1
    assert math.isnan(float(found.low))


def test_documents_that_are_never_drawn_do_not_count():
    known = torch.tensor([1.0, 1.0, 0.0])
    own = as_they_are(Bootstrap.of(known, seed=0, replicates=10)) * known
    usual = Scores(torch.tensor([0.0, 1.0, 99.0]), own)
    found = auroc(usual, Scores(torch.tensor([2.0, 3.0, -99.0]), own))
    assert found.tolist() == [1.0] * 11
