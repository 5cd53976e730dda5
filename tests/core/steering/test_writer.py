"""States that are steered while a model writes, where what must come of it is known."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import sdelens
from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.fitting.fitted import Fitted, Record
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Kernel
from sdelens.laws.sde import KernelSDE
from sdelens.models import language_model
from sdelens.paths.basis import Basis
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens.states.recording import DEPTH, View
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import Steering
from sdelens.steering.steer import steer
from sdelens.steering.steered_path import SteeredPath, length, rescaled
from sdelens.steering.writer import STEERED, Here, Writer, add_to_last
from sdelens_plugins.analyzers.steering.control_directions import (
    STEPS_PER_DOCUMENT,
    IncrementDraws,
    OtherTokens,
    ToMean,
    TrainingIncrements,
    sampled_steps,
)
from sdelens_plugins.analyzers.steering.model_mean_direction import ModelMeanDirection
from tests.spoken import Closed, small_bridge, spoken_study

SITE = Site("block", 1)
IDS = torch.tensor([[0, 5, 17, 40, 3], [0, 9, 8, 21, 60]])
STEPS = 8
DRIFT, DIFFUSION = torch.tensor([0.7, -0.4]), torch.tensor([0.5, 1.8])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def study(model):
    return spoken_study(model, SITE)


@pytest.fixture(scope="module")
def fitted(study):
    return study.single[1].fitted


def writer(model, fitted, **changed):
    return Writer(model, SITE, fitted.law, fitted.basis, **changed)


def draws(rows, steps=STEPS):
    return uniforms(torch.arange(rows), (steps,), 4, STEERED)


def plain(model, ids, uniform):
    """Words by inversion of the model's own law, each from a whole pass without a cache."""
    ids, words = ids.clone(), []
    for share in uniform.unbind(1):
        law = model.run(ids, logits=True).logits[:, -1].double()
        law[:, model.card.eos] = -torch.inf
        heights = law.softmax(-1).cumsum(-1)
        words.append((heights < share[:, None] * heights[:, -1:]).sum(-1))
        ids = torch.cat([ids, words[-1][:, None]], dim=1)
    return torch.stack(words, dim=1)


def test_a_drift_of_zero_and_a_diffusion_of_one_write_what_the_model_writes(model, fitted):
    uniform = draws(2)
    found = writer(model, fitted).write(IDS, torch.zeros(2), torch.ones(2), uniform)
    assert torch.equal(found.words, plain(model, IDS, uniform))
    assert not found.size.any()
    assert not found.kl.any(), "the same bytes: the laws are the same, not nearly so"


def test_nats_entropy_and_divergence_are_of_the_law_that_words_are_drawn_from(model, fitted):
    """The end of text, which cannot be drawn, has no part in any of them."""
    uniform, ones = draws(2), torch.ones(2)
    own = writer(model, fitted).write(IDS, torch.zeros(2), ones, uniform)
    ids = torch.cat([IDS, own.words], dim=1)
    logits = model.run(ids, logits=True).logits[:, IDS.shape[1] - 1 : -1].double()
    logits[..., model.card.eos] = -torch.inf
    law = logits.log_softmax(-1)
    nats = -law.gather(-1, own.words[..., None])[..., 0]
    assert torch.allclose(own.nats, nats, atol=1e-5)
    assert torch.allclose(own.entropy, torch.special.entr(law.exp()).sum(-1), atol=1e-5)


def test_steering_the_end_of_text_alone_changes_nothing():
    """A push that only the end's logit reads leaves the law of words that go on as it is."""
    module = Table()
    model = language_model(module, hook="inner")
    model = replace(model, card=replace(model.card, eos=11))
    shift = torch.linalg.solve(module.out.weight[6:].double(), torch.eye(6).double()[5]).float()
    module.out.weight.data[:6] = 0  # five logits stay by the choice of the push, six are zero
    ids = torch.tensor([[1, 2], [3, 4]])
    found, _ = one_step(module, model, affine(shift), ids, 3.0)
    assert (found.size[:, 1] > 0).all()
    assert torch.allclose(found.kl, torch.zeros(2, 2, dtype=torch.float64), atol=1e-6)


def test_steered_states_stand_at_generated_positions_only(model, fitted):
    """Later layers are read while words are written: at the prompt they are the model's own."""
    seen = []

    class Watched:
        card, encode, decode = model.card, model.encode, model.decode
        untrained = model.untrained

        def run(self, tokens, *, edit=None, read=(), **how):
            def looked(value):
                new = edit[SITE](value)
                seen.append((value, new))
                return new

            return model.run(tokens, edit={SITE: looked} if edit else None, read=read, **how)

    writer(Watched(), fitted).write(IDS, DRIFT, DIFFUSION, draws(2))
    assert len(seen) == STEPS - 1, "one edit for each word that is fed; none at the prompt"
    assert {tuple(value.shape[:2]) for value, _ in seen} == {(2, 1)}
    assert all((value != new).any() for value, new in seen)


def recomputed(model, fitted, uniform, how="push"):
    """The same from the formulas, every word by a whole pass over all that was written."""
    mean, basis = fitted.law.mean, fitted.basis
    words, edits = IDS, torch.zeros(*IDS.shape, model.card.width)

    def latent(x, t):
        return basis.encode(torch.full((2,), float(t)), x)

    def m(z, t):
        return mean(torch.full((2,), float(t)), z, torch.full((2,), -1))

    before = latent(model.run(IDS, read=[SITE]).reads[SITE][:, -1], IDS.shape[1] - 1)
    for step, share in enumerate(uniform.unbind(1)):
        change = add_to_last(edits)
        law = model.run(words, edit={SITE: change}, logits=True).logits[:, -1]
        law[:, model.card.eos] = -torch.inf
        heights = law.double().softmax(-1).cumsum(-1)
        word = (heights < share[:, None] * heights[:, -1:]).sum(-1)
        words, t = torch.cat([words, word[:, None]], dim=1), IDS.shape[1] + step
        x = model.run(words, read=[SITE]).reads[SITE][:, -1]
        z, expected = latent(x, t), m(before, t - 1)
        noised = expected + DIFFUSION.sqrt()[:, None] * (z - expected)
        if how == "remove":
            new = noised - DRIFT[:, None] * (expected - before)
        else:
            new = noised + DRIFT[:, None] * (m(noised, t) - noised)
        before = new
        edits = torch.cat([edits, ((new - z) @ basis.decoder)[:, None]], dim=1)
    return words[:, IDS.shape[1] :]


@pytest.mark.parametrize("how", ["push", "remove"])
def test_words_are_those_of_the_formulas_by_whole_passes(model, fitted, how):
    uniform = draws(2)
    found = writer(model, fitted, how=how).write(IDS, DRIFT, DIFFUSION, uniform)
    assert torch.equal(found.words, recomputed(model, fitted, uniform, how))
    own = writer(model, fitted).write(IDS, torch.zeros(2), torch.ones(2), uniform)
    assert not torch.equal(found.words, own.words), "the test must see something steered"
    assert (found.kl >= 0).all()
    assert (found.kl[:, 1:] > 0).all()
    assert not found.kl[:, 0].any()


def test_a_row_does_not_depend_on_the_others(model, fitted, monkeypatch):
    uniform, number = draws(2), torch.tensor([0, 1])
    together = writer(model, fitted).write(IDS, DRIFT, DIFFUSION, uniform, number)
    monkeypatch.setattr("sdelens.steering.writer.BATCH", 1)
    alone = writer(model, fitted).write(IDS, DRIFT, DIFFUSION, uniform, number)
    assert torch.equal(together.words, alone.words)
    assert torch.allclose(together.kl, alone.kl, atol=1e-4)
    assert torch.equal(uniforms(torch.tensor([1]), (STEPS,), 4, STEERED)[0], uniform[1])


@pytest.mark.parametrize("basis", ["pca:4", "standard"])
def test_what_the_basis_leaves_out_stays(model, basis):
    fitted = spoken_study(model, SITE, basis=basis).single[1].fitted
    x = model.run(IDS, read=[SITE]).reads[SITE]
    track = SteeredPath.of(fitted.law, fitted.basis, x[:, 1:-1], IDS[:, 1:-1], IDS.shape[1] - 2)
    for moved in (track.drift, track.noise(x[:, -1])):
        left = moved - moved @ fitted.basis.encoder @ fitted.basis.decoder
        assert left.norm() < 1e-5 * moved.norm()
    after = track.then(x[:, -1], IDS[:, -1])
    t = torch.full((2,), IDS.shape[1] - 1.0)
    step = fitted.transition(t, x[:, -1]).mean
    kept = fitted.basis.decode(t, fitted.basis.encode(t, x[:, -1]))
    assert torch.allclose(after.drift, step - kept, atol=1e-4 * float(step.abs().max()))


def test_projected_out_no_part_of_the_state_is_along_the_drift(model, fitted):
    x, basis = model.run(IDS, read=[SITE]).reads[SITE], fitted.basis
    track = SteeredPath.of(fitted.law, basis, x[:, 1:], IDS[:, 1:], IDS.shape[1] - 1)
    drift = track.drift
    left = x[:, -1] + track.without(drift)[:, None] * drift - basis.mean_at(torch.tensor(4.0))
    along = ((left / basis.spread) * (drift / basis.spread)).sum(-1)
    assert (along.abs() < 1e-4 * length(basis, left) * length(basis, drift)).all()
    assert not track.without(torch.zeros_like(drift)).any()


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
    here, _ = writer(model, fitted)._after_prompts(IDS, torch.arange(2))
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


class Table(nn.Module):
    """A torch module without a cache: a state for each token, then linear logits."""

    def __init__(self, words=12, width=6):
        super().__init__()
        random = generator(0, "table")
        self.words, self.inner = nn.Embedding(words, width), nn.Identity()
        self.out = nn.Linear(width, words, bias=False)
        self.words.weight.data = torch.randn(words, width, generator=random)
        self.out.weight.data = torch.randn(words, width, generator=random)
        self.requires_grad_(False)

    def forward(self, ids):
        return self.out(self.inner(self.words(ids)))


def identity_basis(dim):
    return Basis(
        times=torch.zeros(1),
        means=torch.zeros(1, dim),
        encoder=torch.eye(dim),
        decoder=torch.eye(dim),
        spread=torch.ones(dim),
        explained=torch.tensor(1.0),
        left_encoder=torch.zeros(dim, 0),
        left_decoder=torch.zeros(0, dim),
        dropped=0,
    )


def affine(shift, by_token=None, sde=True):
    """X' = X + shift, or what the token says."""
    dim = len(shift)
    known = torch.empty(0, dtype=torch.long) if by_token is None else torch.arange(len(by_token))
    mean = AdditiveMean(
        matrix=torch.eye(dim) if by_token is None else torch.zeros(dim, dim),
        times=torch.zeros(1),
        by_time=shift[None],
        known=known,
        by_token=torch.zeros(0, dim) if by_token is None else by_token,
    )
    return (KernelSDE if sde else Kernel)(mean, ConstantNoise.independent(torch.ones(dim)))


@pytest.fixture(scope="module")
def table():
    module = Table()
    return module, language_model(module, hook="inner")


def one_step(module, model, law, ids, drift, **how):
    pen = Writer(model, Site("block", 0), law, identity_basis(6), skip_first=0, **how)
    doses = torch.full((len(ids),), drift)
    found = pen.write(ids, doses, torch.ones(len(ids)), draws(len(ids), 2))
    return found, module.words(found.words[:, 0])


def test_a_drift_along_known_logits_changes_the_law_as_they_say(table):
    """Where the rest of the network is linear, logits change by a W d."""
    module, model = table
    ids, shift = torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.randn(6, generator=generator(1))
    found, x = one_step(module, model, affine(shift), ids, 0.8)
    before, after = module.out(x).log_softmax(-1), module.out(x + 0.8 * shift).log_softmax(-1)
    expected = (before.exp() * (before - after)).sum(-1)
    assert torch.allclose(found.kl[:, 1].float(), expected, atol=1e-5)
    entropy = -(after.exp() * after).sum(-1)
    assert torch.allclose(found.entropy[:, 1].float(), entropy, atol=1e-5)
    assert torch.allclose(found.size[:, 1], (0.8 * shift).norm().expand(3))


def test_the_divergence_of_a_small_dose_is_half_the_fisher_form(table):
    r"""KL = d'Fd / 2 + O(a^3) with F = W'(diag p - pp')W, whichever way the dose points."""
    module, model = table
    ids, shift = torch.tensor([[1, 2], [3, 4], [5, 6]]), torch.randn(6, generator=generator(2))
    for dose in (1e-2, -1e-2):
        found, x = one_step(module, model, affine(shift), ids, dose)
        p, change = module.out(x).softmax(-1).double(), module.out(dose * shift).double()
        form = (p * change.square()).sum(-1) - (p * change).sum(-1).square()
        # the next term is a third cumulant over 6: of the order of the dose's effect on logits
        slack = float(change.abs().max())
        assert torch.allclose(found.kl[:, 1], form / 2, rtol=2 * slack, atol=1e-9)


def test_a_model_without_a_cache_keeps_its_steered_states():
    edits = torch.arange(6.0).reshape(1, 3, 2)
    change = add_to_last(edits)
    assert torch.equal(change(torch.zeros(1, 1, 2)), edits[:, -1:])
    whole = change(torch.zeros(1, 5, 2))
    assert not whole[:, :2].any()
    assert torch.equal(whole[:, 2:], edits)


def test_a_law_that_reads_tokens_is_given_them(table):
    """X' is what the last token says: with drift 1 the state becomes its entry in a table."""
    module, model = table
    entries = torch.randn(12, 6, generator=generator(3))
    ids = torch.tensor([[1, 2], [3, 4]])
    found, x = one_step(module, model, affine(torch.zeros(6), entries, sde=False), ids, 1.0)
    before = module.out(x).log_softmax(-1)
    after = module.out(entries[found.words[:, 0]]).log_softmax(-1)
    expected = (before.exp() * (before - after)).sum(-1)
    assert torch.allclose(found.kl[:, 1].float(), expected, atol=1e-5)


def test_lengths_are_equal_and_within_the_basis(fitted):
    own, other = torch.randn(2, 5, 16, generator=generator(5)).unbind()
    turned = rescaled(fitted.basis, own, other)
    assert torch.allclose(length(fitted.basis, turned), length(fitted.basis, own), rtol=1e-4)
    assert rescaled(fitted.basis, own, torch.zeros(5, 16)).isfinite().all()


# --- as a person uses it


def test_a_fit_steers_its_model(model, fitted):
    found = steer(fitted, model, "the cat sat", drift=0.5, diffusion=0.8, tokens=6, seed=1)
    again = steer(fitted, model, "the cat sat", drift=0.5, diffusion=0.8, tokens=6, seed=1)
    assert found == again
    assert found.unsteered.kl == 0 < found.steered.kl
    assert "steered by drift +0.5, diffusion 0.8" in str(found)
    assert str(found) == repr(found)
    assert found != steer(fitted, model, "the cat sat", drift=0.5, tokens=6, seed=1)
    other = steer(fitted, model, "the cat sat", diffusion=0.1, tokens=6, seed=1)
    assert other.unsteered.text == found.unsteered.text
    # rows of a batch may differ by rounding
    assert other.unsteered.perplexity == pytest.approx(found.unsteered.perplexity, rel=1e-4)
    cold = [
        steer(fitted, model, "the", drift=1.0, temperature=0.0, tokens=5, seed=k) for k in (0, 1)
    ]
    assert cold[0].steered == cold[1].steered
    assert steer(fitted, model, "the cat", drift="project", tokens=1).steered.kl == 0


def test_what_cannot_be_steered_is_refused(model, fitted):
    for wrong in ({"drift": math.nan}, {"diffusion": -0.1}):
        with pytest.raises(UsageError, match="must be a number"):
            steer(fitted, model, "the cat", **wrong)
    with pytest.raises(UsageError, match="changes nothing"):
        steer(fitted, model, "the cat")
    with pytest.raises(UsageError, match="temperature must be 0 or more"):
        steer(fitted, model, "the cat", drift=1.0, temperature=-1.0)
    with pytest.raises(UsageError, match="at least 1"):
        steer(fitted, model, "the cat", drift=1.0, tokens=0)
    with pytest.raises(UsageError, match="give a longer prompt"):
        steer(fitted, model, "", drift=1.0)
    with pytest.raises(UsageError, match=r"exceeds the context of m0 \(48 tokens\)"):
        steer(fitted, model, "the cat", drift=1.0, tokens=60)
    with pytest.raises(UsageError, match="layer must be one layer"):
        steer(fitted, model, "the cat", drift=1.0, layer="0-1")
    states = torch.randn(20, 6, model.card.width, generator=generator(6))
    with pytest.raises(UsageError, match="choose the layer to steer"):
        steer(sdelens.fit(states, probe="linear"), model, "the cat", drift=1.0)
    deep = replace(fitted, view=DEPTH)
    with pytest.raises(UsageError, match="along the depth"):
        steer(deep, model, "the cat", drift=1.0, layer=1)
    law, basis = affine(torch.zeros(6)), identity_basis(6)
    other = Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0), fitted.origin)
    with pytest.raises(UsageError, match=r"6 coordinates, but those of .* have 16"):
        steer(other, model, "the cat", drift=1.0)
    card = replace(fitted.origin.model, fingerprint="0" * 64)
    trained = replace(fitted, origin=replace(fitted.origin, model=card))
    with pytest.raises(UsageError, match=r"with the fingerprint 000.*: give the model of the fit"):
        steer(trained, model, "the cat", drift=1.0)
    several = replace(fitted, origin=replace(fitted.origin, hook="block0 block1"))
    with pytest.raises(UsageError, match="recorded at block0 block1"):
        steer(several, model, "the cat", drift=1.0)
    told = steer(several, model, "the cat", drift=1.0, layer=1, tokens=4)
    assert told == steer(fitted, model, "the cat", drift=1.0, tokens=4)
    assert told == steer(replace(several, view=View(SITE)), model, "the cat", drift=1.0, tokens=4)


def test_what_a_models_hooks_draw_leaves_the_global_random_state_alone(model, fitted):
    class Drawing(Closed):
        def run(self, tokens, **how):
            torch.rand(1)
            return super().run(tokens, **how)

    before = torch.get_rng_state()
    steer(fitted, Drawing(model), "the cat", drift=1.0, tokens=3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("text", "steering"),
    [
        ("drift=0.5,diffusion=0.8", Steering(0.5, 0.8)),
        (" diffusion = 2 , drift = -1e-1", Steering(-0.1, 2.0)),
        ("drift=remove", Steering("remove")),
        ("drift=project,diffusion=0", Steering("project", 0.0)),
    ],
)
def test_steering_is_read_from_words(text, steering):
    assert Steering.parse(text) == steering


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "one assignment is empty"),
        ("drift=1,", "one assignment is empty"),
        ("drift", "'drift' is not of the form name=value"),
        ("drift=0,5", r"'5' is not of the form name=value \(use a decimal point\)"),
        ("drift=", "drift has no value"),
        ("drift=x", "drift must be a number, remove or project, got 'x'"),
        ("drift=nan", "drift must be a number, remove or project, got nan"),
        ("drft=0.5", r"there is no 'drft'; did you mean drift\?"),
        ("noise=1", "there is no 'noise'$"),
        ("=1", "there is no ''"),
        ("drift=1.0,drift=2", "drift is given twice"),
        ("diffusion=-1", r"diffusion must be a number from 0 on, got -1\.0"),
        ("diffusion=remove", "diffusion must be a number from 0 on, got 'remove'"),
    ],
)
def test_of_other_words_the_part_that_is_wrong_is_named(text, wrong):
    expected = r"--steer expects drift=0\.5,diffusion=0\.8 .*; got .*: " + wrong
    with pytest.raises(UsageError, match=expected):
        Steering.parse(text)
