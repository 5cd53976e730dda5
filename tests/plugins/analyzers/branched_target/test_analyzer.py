"""Savings from branched transitions, against theory."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.noise import ConstantNoise
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.interfaces import load
from sdelens.protocols import ignore_epoch
from sdelens.seeds import generator
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.branched_target.analyzer import BranchedTargetAnalyzer
from sdelens_plugins.analyzers.branched_target.results import SavingResults
from sdelens_plugins.analyzers.branched_target.sample_saving import (
    LearningCurves,
    expected_saving,
    largest,
    savings,
    set_weights,
)
from sdelens_plugins.analyzers.branched_target.training_sets import (
    BRANCHED,
    SIZES,
    TrainingSet,
    branched_documents,
    fit_training_sets,
    single_steps,
    training_sets,
)
from tests.asked import value
from tests.chain import Chain, branched_steps, chain_origin, chain_study, linear_chain_study
from tests.language import kernel

BRANCHES = 4


@pytest.fixture(scope="module")
def chain():
    return linear_chain_study()


@pytest.fixture(scope="module")
def origin(chain):
    return chain_origin(chain)


def test_single_steps_are_the_transitions_from_every_nth_position(chain):
    for block in chain.single[1].train:
        found = single_steps(block, 3)
        flat = block.flat()
        chosen = (flat.t.long() + 1) % 3 == 0
        assert torch.equal(found.states[:, 0], flat.x[chosen])
        assert torch.equal(found.states[:, 1], flat.following[chosen])
        assert torch.equal(found.times[:, 0], flat.t[chosen])
        assert torch.equal(found.flat().x, flat.x[chosen])


def test_training_sets_of_a_size_are_disjoint_and_branched_ones_are_branched():
    documents = list(range(100, 164))
    for target, parts in (("plain", SIZES), ("branched", BRANCHED)):
        for part in parts:
            each = [
                o.of(documents) for o in training_sets() if (o.target, o.part) == (target, part)
            ]
            assert len({d for one in each for d in one}) == sum(map(len, each))
            assert all(len(one) == 64 // part for one in each)
    assert set(TrainingSet("branched", 4, 1).of(documents)) <= set(branched_documents(documents))
    assert branched_documents(documents) == documents  # four quarters


def test_a_saving_is_read_off_a_curve_that_falls_as_one_over_n():
    """Plain losses 1 + 3 / n, branched ones those of so many times as many."""
    sizes, few = (torch.tensor([1 / part for part in parts]) for parts in (SIZES, BRANCHED))
    for times in (0.5, 1.0, 2.5, 4.0):
        found = LearningCurves(1 + 3 / sizes, 1 + 3 / (times * few)).saving()
        assert torch.allclose(found, torch.tensor(times)), times
    never = LearningCurves(1 + 3 / sizes, torch.tensor([0.9, 0.9])).saving()
    assert never.tolist() == [largest(part) for part in BRANCHED]
    flat = LearningCurves(torch.ones(4), torch.ones(2)).saving()
    assert flat.isnan().all()


def test_sets_are_drawn_again_with_the_variance_that_their_mean_has():
    weights = set_weights(200_000, generator(0))
    for part, x in ((8, [0.3, -1.0, 2.0, 0.7]), (4, [1.0, 2.0, -0.5, 0.0]), (2, [0.4, -0.2])):
        losses = torch.tensor(x, dtype=torch.float64)
        assert torch.allclose(weights[part].sum(1), torch.ones(()).double())
        means = weights[part] @ losses
        # the variance of a variance of 200,000 draws is about 2 v^2 / n
        wanted = losses.var() / len(x)
        assert float(means.var() / wanted) == pytest.approx(1, abs=5 * (2 / 200_000) ** 0.5)
    assert (weights[1] == 1).all()


def test_sets_that_contain_each_other_are_drawn_together():
    """A saving of one in every set of every size has no error from the training documents."""
    weights = set_weights(1000, generator(0))
    assert torch.equal(weights[8], weights[4])
    half = 1 / 2 + (weights[4][:, [0, 1]] + weights[4][:, [2, 3]] - 1 / 2) * 3**0.5
    assert torch.allclose(weights[2], half)
    for one in training_sets():
        if one.part == 2:
            inside = [q for q in range(4) if set(range(64)[q::4]) <= set(one.of(range(64)))]
            assert inside == [one.repeat, one.repeat + 2]


def test_the_error_of_a_saving_knows_of_the_luck_of_the_training_documents():
    """Losses that are the same in every held-out document, but not for every training set."""
    count, random = torch.ones(30, dtype=torch.float64), generator(3)
    bootstrap = Bootstrap.of(count, seed=0)

    def found(luck):
        losses = {}
        for one in training_sets():
            times = 1.0 if one.target == "plain" else 2.0
            size = times / one.part
            noise = luck * float(torch.randn((), generator=random))
            losses[one] = count * (1 + 0.1 / size + (noise if one.part > 1 else 0.0))
        return savings(losses, count, bootstrap, seed=0)[1]

    assert torch.allclose(found(0.0).value, torch.tensor(2.0).double(), atol=1e-6)
    assert float(found(0.0).stderr.max()) < 1e-6
    assert float(found(0.02).stderr.min()) > 0.01


def test_a_saving_without_bound_is_printed_as_what_can_be_read():
    sizes = torch.tensor([1 / part for part in SIZES])
    most = largest(BRANCHED[-1])
    results = saving_of(LearningCurves(1 + 3 / sizes, torch.tensor([0.9, 0.9])))
    assert f"one to at least {most:.2f}" in results.headline()
    assert "the most that can be read" in results.headline()
    assert "inf" not in results.headline()


def test_a_saving_whose_curve_often_does_not_fall_has_no_error():
    count, random = torch.ones(30, dtype=torch.float64), generator(4)
    losses = {
        one: count * (1 + 0.01 * one.part + 0.3 * float(torch.randn((), generator=random)))
        for one in training_sets()
    }
    found = savings(losses, count, Bootstrap.of(count, seed=0), seed=0)[1]
    assert found.stderr.isnan().any()
    assert torch.equal(found.low.isnan(), found.stderr.isnan())


def test_an_unknown_saving_is_said_to_be_unknown_and_wins_nothing():
    shown = saving_of(LearningCurves(torch.ones(4), torch.ones(2)))
    assert "is not known" in shown.headline()
    assert "cheaper" not in shown.headline()
    dear = saving_of(
        LearningCurves(1 + 3 * torch.tensor([8.0, 4, 2, 1]), torch.tensor([2.0, 1.5])), 3
    )
    assert dear.cost == pytest.approx(1 + 8 / 3)


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ((2.0, 4.0), "plain sampling is cheaper"),
        ((10.0, 12.0), "branches are cheaper"),
        ((8.0, 10.0), "it is undecided"),
    ],
)
def test_branches_are_cheaper_only_where_the_saving_exceeds_their_tokens(ends, verdict):
    """Eight branches of every prefix take nine times the tokens of a plain transition."""
    value, low, high = (torch.full((2,), x) for x in (sum(ends) / 2, *ends))
    results = saving_of(LearningCurves(torch.ones(4), torch.ones(2)))
    results.__dict__["savings"] = {"squares": (None, Interval(value, value, low, high))}
    assert verdict in results.headline()


def saving_of(curves, apart=1):
    """What would be shown of these curves, without any fit."""
    saving = curves.saving()
    interval = Interval(saving, torch.zeros(2), saving, saving)
    shown = object.__new__(SavingResults)
    documents, found = dict.fromkeys(SIZES, 10), {"squares": (curves, interval)}
    parts = {"documents": documents, "savings": found, "parts": (0.3, 0.1)}
    shown.__dict__.update(parts, probe="linear", branches=8, apart=apart, own=True)
    return shown


def test_the_expected_saving_is_the_ratio_of_the_targets_variances():
    assert expected_saving(0.342, 0.155, math.inf) == pytest.approx(1 + 0.342 / 0.155)
    assert expected_saving(0.3, 0.1, 3) == pytest.approx(0.4 / 0.2)
    assert expected_saving(0.3, 0.0, math.inf) == math.inf


def test_a_mean_learned_from_branches_has_the_variance_that_theory_says(origin):
    """Of the linear coefficient of a chain, over disjoint sets of texts, plain and branched."""
    model = Chain(b=0.0, c=0.0, a=0.3)  # S = 1 - a², nothing is unexplained
    law = kernel(0.3, 1, ConstantNoise.independent(torch.ones(1)))
    study = chain_study(model, law, sampler=Sampler(), documents=240, length=40)
    steps = branched_steps(study, origin, list(range(150)), branches=8)
    view, viewed = study.single
    found = {}
    for name, paths in (("plain", viewed.train), ("branched", steps.recording.view(view))):
        each = []
        for first in range(50):
            block = [b.flat() for b in paths.select([first, first + 50, first + 100])]
            x, y = (torch.cat([getattr(b, n) for b in block])[:, 0] for n in ("x", "following"))
            each.append(float((x * y).sum() / (x * x).sum()) - 0.3)
        found[name] = torch.tensor(each).square().mean()
    # the logarithm of a mean square of fifty has the variance 2 / 50
    ratio = float(found["plain"] / found["branched"])
    theory = expected_saving(1 - 0.09, 0.0, 8)
    assert abs(math.log(ratio / theory)) < 4 * math.sqrt(2 * 2 / 50)


def test_training_sets_are_fitted_in_the_coordinates_of_the_fit(chain, origin):
    numbers = list(range(150))
    steps = branched_steps(chain, origin, branched_documents(numbers), branches=2)
    view, viewed = chain.single
    probe = load("probe", "linear")()
    laws = fit_training_sets(
        viewed.fitted,
        probe,
        viewed.train,
        viewed.validation,
        steps.recording.view(view),
        numbers,
        apart=1,
        seed=0,
    )
    assert set(laws) == set(training_sets())
    whole = probe.fit(
        viewed.fitted.encoded(viewed.train),
        viewed.fitted.encoded(viewed.validation),
        seed=0,
        watch=ignore_epoch,
    )
    for name, tensor in whole.law.tensors().items():
        assert torch.allclose(laws[TrainingSet("plain", 1, 0)].tensors()[name], tensor, atol=1e-6)


def test_what_branches_save_of_a_chain_is_found_with_its_ceiling(chain):
    """S = 1 - known, R = hidden bit and memory: the ceiling is 1 + S / R."""
    finding = BranchedTargetAnalyzer(branches=4).analyze(with_origin(chain), seed=0)
    shares = chain.model.shares
    truth = 1 + float(shares[4] / (shares[2] + shares[3]))
    assert value(finding, "ceiling, 1 + sampling noise / unexplained").value == pytest.approx(
        truth, rel=0.05
    )
    assert "of a linear fit is not known" in finding.headline or "tokens" in finding.headline
    assert finding.arrays["squares.plain"].shape == (4,)
    assert finding.arrays["squares.branched"].shape == (2,)


def with_origin(study):
    ((view, viewed),) = study.views.items()
    fitted = replace(viewed.fitted, origin=chain_origin(study))
    return replace(study, views={view: replace(viewed, fitted=fitted)})


def test_of_other_texts_the_losses_are_of_what_occurred_and_there_is_no_ceiling(chain):
    finding = BranchedTargetAnalyzer(branches=2).analyze(
        replace(with_origin(chain), sampler=None), seed=0
    )
    assert not any("ceiling" in one.name for one in finding.estimates)
    assert "not the model's own, and the losses are those of the states that" in finding.reading
    assert "ceiling" not in finding.headline


def test_what_cannot_learn_from_single_steps_is_refused(chain):
    with pytest.raises(UsageError, match="switching uses earlier states"):
        BranchedTargetAnalyzer(probe="switching")
    with pytest.raises(UsageError, match="branches must be at least 2"):
        BranchedTargetAnalyzer(branches=1)
    few = with_origin(chain)
    ((view, viewed),) = few.views.items()
    few = replace(few, views={view: replace(viewed, train=viewed.train.select(range(10)))})
    with pytest.raises(UsageError, match="at least 16 training documents are needed"):
        BranchedTargetAnalyzer().analyze(few, seed=0)
