"""Learning from next states that the model draws: which steps, and what they save."""

from dataclasses import replace

import pytest
import torch

from sdelens.branching.branched_transitions import SHARD_STEPS
from sdelens.errors import UsageError
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler
from tests.chain import SITE, branched_steps, chain_origin, linear_chain_study
from tests.small import small_model

TEXTS = {"documents_wanted": 40, "length": 20}
BRANCHES = 4


@pytest.fixture(scope="module")
def chain():
    return linear_chain_study()


@pytest.fixture(scope="module")
def origin(chain):
    return chain_origin(chain)


def test_every_prefix_has_as_many_steps_as_branches_from_the_state_that_it_ends_in(chain, origin):
    numbers = [3, 5, 11]
    found = branched_steps(chain, origin, numbers)
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
    found = branched_steps(chain, origin, list(range(60)))
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
    (whole,) = branched_steps(chain, origin, [1, 2, 3]).recording.view(View(SITE))
    monkeypatch.setattr("sdelens.branching.branched_transitions.SHARD_STEPS", 100)
    many = list(branched_steps(chain, origin, [1, 2, 3]).recording.view(View(SITE)))
    assert SHARD_STEPS > len(whole.document) > 100
    assert len(many) > 1
    for name in ("states", "tokens", "document"):
        assert torch.equal(torch.cat([getattr(b, name) for b in many]), getattr(whole, name))


def test_texts_that_were_drawn_otherwise_are_refused_unless_they_are_anothers(chain, origin):
    cold = Sampler(temperature=0.2)
    with pytest.raises(
        UsageError, match="sampling settings of the run are not those of its texts"
    ):
        branched_steps(chain, origin, list(range(60)), sampler=cold)
    assert branched_steps(chain, origin, list(range(60)), sampler=cold, own=False).tokens > 0


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
        said = f"3 model-drawn next states after each of {prefixes:,} training prefixes"
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
    with pytest.raises(UsageError, match="--branches needs --target branched"):
        job(place, branches=5)


def test_targets_that_cannot_be_are_refused_before_any_work(place):
    with pytest.raises(UsageError, match="target must be plain, branched; got 'other'"):
        job(place, target="other")
    with pytest.raises(UsageError, match="branches must be at least 2, got 1"):
        job(place, target="branched", branches=1)
    with pytest.raises(UsageError, match="cannot be combined with --axis layer"):
        Job(axis="layer", target="branched")
    with pytest.raises(UsageError, match="the probe switching uses earlier states"):
        execute(replace(job(place, target="branched"), probe="switching"), place / "none")
