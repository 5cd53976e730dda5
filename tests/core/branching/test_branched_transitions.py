"""Learning from next states that the model draws: which steps, and what they save."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.branched_transitions import SHARD_STEPS, branched_transitions
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import UsageError
from sdelens.estimation.noise import ConstantNoise
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.protocols import ignore_epoch
from sdelens.registry import load
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.branched_target.analyzer import BranchedTargetAnalyzer
from sdelens_plugins.analyzers.branched_target.results import SavingResults
from sdelens_plugins.analyzers.branched_target.sample_saving import (
    BRANCHED,
    SIZES,
    Curves,
    TrainingSet,
    asked,
    expected,
    learned,
    redrawn,
    savings,
    single_steps,
    training_sets,
)
from tests.asked import value
from tests.chain import SITE, Chain, chain_study
from tests.language import kernel
from tests.small import small_model

TEXTS = {"documents_wanted": 40, "length": 20}
BRANCHES = 4


@pytest.fixture(scope="module")
def chain():
    model = Chain()
    law = kernel(model.a / (1 - model.c), 1, ConstantNoise.independent(torch.ones(1)))
    return chain_study(model, law, sampler=Sampler())


@pytest.fixture(scope="module")
def origin(chain):
    from sdelens.states.capturing import origin_of

    return origin_of(chain.model, chain.documents, [SITE], skip_first=1)


def steps_of(study, origin, numbers, *, branches=BRANCHES, every=1, own=True, sampler=None):
    branching = BranchSampler(sampler or Sampler(), TokenChoice(branches), every=every)
    return branched_transitions(
        study.model, study.documents, numbers, [SITE], branching, origin, own=own, seed=0
    )


def test_every_prefix_has_as_many_steps_as_branches_from_the_state_that_it_ends_in(chain, origin):
    numbers = [3, 5, 11]
    found = steps_of(chain, origin, numbers)
    (block,) = found.recording.view(View(SITE))
    assert block.states.shape[1] == 2
    assert block.mask.all()
    lengths = chain.documents.lengths[numbers]
    # position 0 is left out, and the last has no next token
    assert found.prefixes == int((lengths - 2).sum())
    assert found.tokens == BRANCHES * found.prefixes == len(block.document)
    assert torch.equal(block.times[:, 1], block.times[:, 0] + 1)
    padded = chain.documents.padded()
    time = block.times[:, 0].long()
    assert torch.equal(padded[block.document, time], block.tokens[:, 0])
    # in this model a state is the upper bit of its token
    assert torch.equal(block.states[..., 0], 2 * (block.tokens // 2).float() - 1)
    own = block.document == 5
    counts = torch.bincount(time[own])
    assert (counts[1 : int(lengths[1]) - 1] == BRANCHES).all()
    assert int(counts.sum()) == BRANCHES * (int(lengths[1]) - 2)


def test_branches_have_the_mean_that_the_model_gives_them(chain, origin):
    """E[y | past] = a x + c x_before + b h: a regression on all three finds them."""
    found = steps_of(chain, origin, list(range(60)))
    (block,) = found.recording.view(View(SITE))
    padded, time = chain.documents.padded(), block.times[:, 0].long()
    later = time > 1
    document, time = block.document[later], time[later]
    now, before = padded[document, time], padded[document, time - 1]
    bits = torch.stack([now // 2, before // 2, now % 2], 1).double() * 2 - 1
    target = block.states[later, 1, 0].double()
    found = torch.linalg.solve(bits.mT @ bits, bits.mT @ target)
    error = torch.linalg.inv(bits.mT @ bits).diagonal().sqrt()
    truth = torch.tensor([0.3, 0.2, 0.4], dtype=torch.float64)
    assert ((found - truth).abs() < 4 * error).all()


def test_steps_do_not_depend_on_the_shards_they_lie_in(chain, origin, monkeypatch):
    (whole,) = steps_of(chain, origin, [1, 2, 3]).recording.view(View(SITE))
    monkeypatch.setattr("sdelens.branching.branched_transitions.SHARD_STEPS", 100)
    many = list(steps_of(chain, origin, [1, 2, 3]).recording.view(View(SITE)))
    assert SHARD_STEPS > len(whole.document) > 100
    assert len(many) > 1
    for name in ("states", "tokens", "document"):
        assert torch.equal(torch.cat([getattr(b, name) for b in many]), getattr(whole, name))


def test_texts_that_were_drawn_otherwise_are_refused_unless_they_are_anothers(chain, origin):
    cold = Sampler(temperature=0.2)
    with pytest.raises(UsageError, match="sampling settings are not those of its texts"):
        steps_of(chain, origin, list(range(60)), sampler=cold)
    assert steps_of(chain, origin, list(range(60)), sampler=cold, own=False).tokens > 0


# --- what they save


def test_single_steps_are_the_transitions_from_every_so_manieth_position(chain):
    for block in chain.single[1].train:
        found = single_steps(block, 3)
        flat = block.flat()
        chosen = (flat.t.long() + 1) % 3 == 0
        assert torch.equal(found.states[:, 0], flat.x[chosen])
        assert torch.equal(found.states[:, 1], flat.following[chosen])
        assert torch.equal(found.times[:, 0], flat.t[chosen])
        assert torch.equal(found.flat().x, flat.x[chosen])


def test_lessons_of_a_size_are_disjoint_and_branched_ones_are_asked_for():
    documents = list(range(100, 164))
    for target, parts in (("plain", SIZES), ("branched", BRANCHED)):
        for part in parts:
            each = [
                o.of(documents) for o in training_sets() if (o.target, o.part) == (target, part)
            ]
            assert len({d for one in each for d in one}) == sum(map(len, each))
            assert all(len(one) == 64 // part for one in each)
    assert set(TrainingSet("branched", 4, 1).of(documents)) <= set(asked(documents))
    assert asked(documents) == documents  # four quarters


def test_a_saving_is_read_off_a_curve_that_falls_as_one_over_n():
    """Plain losses 1 + 3 / n, branched ones those of so many times as many."""
    sizes, few = (torch.tensor([1 / part for part in parts]) for parts in (SIZES, BRANCHED))
    for times in (0.5, 1.0, 2.5, 4.0):
        found = Curves(1 + 3 / sizes, 1 + 3 / (times * few)).saving()
        assert torch.allclose(found, torch.tensor(times)), times
    never = Curves(1 + 3 / sizes, torch.tensor([0.9, 0.9])).saving()
    assert never.isinf().all()
    flat = Curves(torch.ones(4), torch.ones(2)).saving()
    assert flat.isnan().all()


def test_sets_are_drawn_again_with_the_variance_that_their_mean_has():
    x = torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=torch.float64)
    weights = redrawn(4, 200_000, generator(0))
    assert torch.allclose(weights.sum(1), torch.ones(()).double())
    means = weights @ x
    # the variance of a variance of 200,000 draws is 2 v² / n for a normal law
    assert float(means.var() / (x.var() / 4)) == pytest.approx(1, abs=5 * (2 / 200_000) ** 0.5)
    assert torch.equal(redrawn(1, 10, generator(0)), torch.ones(10, 1, dtype=torch.float64))


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


def test_an_unknown_saving_is_said_to_be_unknown_and_wins_nothing():
    shown = saving_of(Curves(torch.ones(4), torch.ones(2)))
    assert "is not known" in shown.headline()
    dear = saving_of(Curves(1 + 3 * torch.tensor([8.0, 4, 2, 1]), torch.tensor([2.0, 1.5])), 3)
    assert dear.cost == pytest.approx(1 + 8 / 3)


def saving_of(curves, apart=1):
    """What would be shown of these curves, without any fit."""
    saving = curves.saving()
    interval = Interval(saving, torch.zeros(2), saving, saving)
    shown = object.__new__(SavingResults)
    documents, found = dict.fromkeys(SIZES, 10), {"squares": (curves, interval)}
    parts = {"documents": documents, "found": found, "parts": (0.3, 0.1)}
    shown.__dict__.update(parts, probe="linear", branches=8, apart=apart, own=True)
    return shown


def test_the_expected_saving_is_the_ratio_of_the_targets_variances():
    assert expected(0.342, 0.155, math.inf) == pytest.approx(1 + 0.342 / 0.155)
    assert expected(0.3, 0.1, 3) == pytest.approx(0.4 / 0.2)
    assert expected(0.3, 0.0, math.inf) == math.inf


def test_a_mean_learned_from_branches_has_the_variance_that_theory_says(origin):
    """Of the linear coefficient of a chain, over disjoint sets of texts, plain and branched."""
    model = Chain(b=0.0, c=0.0, a=0.3)  # S = 1 - a², nothing is unexplained
    law = kernel(0.3, 1, ConstantNoise.independent(torch.ones(1)))
    study = chain_study(model, law, sampler=Sampler(), documents=240, length=40)
    steps = steps_of(study, origin, list(range(150)), branches=8)
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
    theory = expected(1 - 0.09, 0.0, 8)
    assert abs(math.log(ratio / theory)) < 4 * math.sqrt(2 * 2 / 50)


def test_lessons_are_learned_in_the_coordinates_of_the_fit(chain, origin):
    numbers = list(range(150))
    steps = steps_of(chain, origin, asked(numbers), branches=2)
    view, viewed = chain.single
    probe = load("probe", "linear")()
    laws = learned(
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
    assert value(finding, "ceiling, 1 + sampler / not reached").value == pytest.approx(
        truth, rel=0.05
    )
    assert "of a linear fit is not known" in finding.headline or "tokens" in finding.headline
    assert finding.arrays["squares.plain"].shape == (4,)
    assert finding.arrays["squares.branched"].shape == (2,)


def with_origin(study):
    from sdelens.states.capturing import origin_of

    ((view, viewed),) = study.views.items()
    origin = origin_of(study.model, study.documents, [SITE], skip_first=1)
    return replace(
        study, views={view: replace(viewed, fitted=replace(viewed.fitted, origin=origin))}
    )


def test_of_other_texts_the_losses_are_of_what_occurred_and_there_is_no_ceiling(chain):
    finding = BranchedTargetAnalyzer(branches=2).analyze(
        replace(with_origin(chain), sampler=None), seed=0
    )
    assert not any("ceiling" in one.name for one in finding.estimates)
    assert "not the model's own, and the losses are of the states that occurred" in finding.reading
    assert "ceiling" not in finding.headline


def test_what_cannot_learn_from_single_steps_is_refused(chain):
    with pytest.raises(UsageError, match="switching looks further back"):
        BranchedTargetAnalyzer(probe="switching")
    with pytest.raises(UsageError, match="branches must be at least 2"):
        BranchedTargetAnalyzer(branches=1)
    few = with_origin(chain)
    ((view, viewed),) = few.views.items()
    few = replace(few, views={view: replace(viewed, train=viewed.train.select(range(10)))})
    with pytest.raises(UsageError, match="at least 16 training documents are needed"):
        BranchedTargetAnalyzer().analyze(few, seed=0)


# --- a run whose fits learn from them


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    small_model(folder)
    return folder


def job(place, **settings):
    model = str(small_model(place)) if not (place / "small").exists() else str(place / "small")
    return Job(
        model=model, layers="0,2", probe="linear", source_settings=TEXTS, cache=False, **settings
    )


def test_a_run_says_what_its_fits_learned_from_and_is_another_run(place):
    run = execute(job(place, target="branched", branches=3), place / "branched")
    plain = execute(job(place), place / "plain")
    train = run.documents.lengths[list(run.split.train)]
    prefixes = int((train - 2).clamp(min=0).sum())
    for view in run.views:
        notes = run.metrics(view)["notes"]
        said = f"3 next states that the model drew after each of {prefixes:,} training prefixes"
        assert any(said in note for note in notes)
        assert not any("next states" in note for note in plain.metrics(view)["notes"])
        assert torch.equal(run.fitted(view).basis.encoder, plain.fitted(view).basis.encoder)
        differ = [
            not torch.equal(one, plain.fitted(view).law.tensors()[name])
            for name, one in run.fitted(view).law.tensors().items()
        ]
        assert any(differ)
    assert run.job.hash8 != plain.job.hash8
    again = execute(job(place, target="branched", branches=3), place / "again")
    for view in run.views:
        for name, one in run.fitted(view).law.tensors().items():
            assert torch.equal(one, again.fitted(view).law.tensors()[name])


def test_branches_are_eight_unless_told_and_belong_to_a_branched_target(place):
    branched = job(place, target="branched")
    assert branched.hash8 == job(place, target="branched", branches=8).hash8
    assert branched.hash8 != job(place, target="branched", branches=5).hash8
    with pytest.raises(UsageError, match="--branches is about --target branched"):
        job(place, branches=5)


def test_targets_that_cannot_be_are_refused_before_any_work(place):
    with pytest.raises(UsageError, match="target must be plain, branched; got 'other'"):
        job(place, target="other")
    with pytest.raises(UsageError, match="branches must be at least 2, got 1"):
        job(place, target="branched", branches=1)
    with pytest.raises(UsageError, match="contradict each other"):
        Job(axis="layer", target="branched")
    with pytest.raises(UsageError, match="the probe switching looks further back"):
        execute(replace(job(place, target="branched"), probe="switching"), place / "none")
