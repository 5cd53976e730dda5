"""Other directions to steer in: as long as the fit's own, drawn from training documents."""

import math

import pytest
import torch

from sdelens.seeds import generator
from sdelens.steering.writer import Here
from sdelens_plugins.analyzers.steering.control_directions import (
    STEPS_PER_DOCUMENT,
    IncrementDraws,
    OtherTokens,
    ToMean,
    TrainingIncrements,
    sampled_steps,
)
from sdelens_plugins.analyzers.steering.model_mean_direction import ModelMeanDirection
from tests.core.steering.written import DIFFUSION, DRIFT, IDS, SITE, draws, writer


def directions(study, model):
    viewed = study.single[1]
    steps = TrainingIncrements.of(viewed.fitted, viewed.train, seed=0)
    return {
        "others": OtherTokens(steps, 1),
        "draws": IncrementDraws.of(steps, seed=2),
        "mean": ToMean(viewed.fitted.basis),
        "own": ModelMeanDirection.of(model, SITE, IDS, 4, 3),
    }


@pytest.mark.parametrize(
    ("how", "name"),
    [
        *(("push", name) for name in ("others", "draws", "mean", "own")),
        *(("remove", "own"), ("project", "others")),
    ],
)
def test_other_directions_are_as_long_as_the_fits_own(model, study, fitted, name, how):
    """At the first steered state, which is the same; later texts differ."""
    direction = directions(study, model)[name]
    for doses in ((DRIFT, torch.ones(2)), (torch.zeros(2), DIFFUSION)):
        own, other = (
            writer(model, fitted, how=how, direction=d).write(IDS, *doses, draws(2))
            for d in (None, direction)
        )
        assert torch.equal(own.words[:, 0], other.words[:, 0])
        assert torch.allclose(own.size[:, 1], other.size[:, 1], rtol=1e-4)
        assert (own.size[:, 1] > 0).all()
        assert not torch.allclose(own.kl[:, 1], other.kl[:, 1], rtol=1e-3)


def test_rows_of_one_text_share_what_is_drawn(model, study, fitted):
    ids, number = IDS[[0, 0]], torch.tensor([7, 7])
    for direction in directions(study, model).values():
        found = writer(model, fitted, direction=direction).write(
            ids, torch.tensor([0.5, 0.5]), torch.ones(2), draws(1).expand(2, -1), number
        )
        assert torch.equal(found.words[0], found.words[1])
        assert torch.allclose(found.kl[0], found.kl[1], atol=1e-6)


def test_steps_are_drawn_from_all_training_documents(study, monkeypatch):
    viewed = study.single[1]
    first = TrainingIncrements.of(viewed.fitted, viewed.train, seed=0)
    assert len(first.drift) == 10 * STEPS_PER_DOCUMENT, "so many of each of ten documents"
    assert torch.equal(
        first.drift, TrainingIncrements.of(viewed.fitted, viewed.train, seed=0).drift
    )
    monkeypatch.setattr("sdelens_plugins.analyzers.steering.control_directions.MAX_DOCUMENTS", 1)
    several = [
        TrainingIncrements.of(viewed.fitted, viewed.train, seed=k).drift[0] for k in range(8)
    ]
    assert len(torch.stack(several).unique(dim=0)) > 2, "not those of the first document alone"


def test_each_step_of_a_path_is_as_likely_to_be_drawn():
    steps = torch.arange(20).expand(4000, 20) < 16
    share = sampled_steps(steps, generator(0)).double().mean(0)
    assert not share[16:].any()
    # 16 shares of a half: 4.5 standard errors are passed by chance once in ten thousand runs
    assert (share[:16] - STEPS_PER_DOCUMENT / 16).abs().max() < 4.5 * (0.25 / 4000) ** 0.5
    few = torch.arange(20)[None] < 3
    assert torch.equal(sampled_steps(few, generator(0)), few)


def test_draws_have_the_covariance_of_increments(study):
    viewed = study.single[1]
    steps = TrainingIncrements.of(viewed.fitted, viewed.train, seed=0)
    increments, rows = steps.drift + steps.noise, 4000

    tokens = torch.zeros(rows, 3, dtype=torch.long)
    nothing = torch.zeros(rows, 1)
    place = Here(study.model, SITE, torch.arange(rows), tokens, nothing, nothing, None)
    drawn = IncrementDraws.of(steps, seed=0).drift(place)
    wanted = increments.mT.cov()
    variance = wanted.diagonal()
    stderr = ((variance[:, None] * variance + wanted.square()) / rows).sqrt()
    # 136 entries: 4.5 standard errors are passed by chance once in a thousand runs
    assert ((drawn.mT.cov() - wanted) / stderr).abs().max() < 4.5


@pytest.mark.parametrize("cached", [True, False])
def test_the_models_own_expectation_is_that_of_all_next_tokens(model, study, fitted, cached):
    """By as many branches as make the error small, within five of their standard errors."""
    here, *_ = writer(model, fitted)._after_prompts(IDS, torch.arange(2))
    law = here.law.exp()
    every = torch.arange(law.shape[1])
    states = []
    for row in range(2):
        whole = torch.cat([IDS[row].expand(len(every), -1), every[:, None]], dim=1)
        states.append(model.run(whole, read=[SITE]).reads[SITE][:, -1].double())
    states = torch.stack(states)
    mean = (law[..., None] * states).sum(1)
    spread = (law[..., None] * (states - mean[:, None]).square()).sum(1).sqrt()
    branches = 200
    found = ModelMeanDirection(branches, seed=0, cached=cached).mean(here)
    # independent draws would have this error; systematic ones less
    assert ((found - mean).abs() < 5 * spread / math.sqrt(branches)).all()
