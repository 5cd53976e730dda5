"""States that are steered while a model writes, where what must come of it is known."""

import math
from dataclasses import replace

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted, Record
from sdelens.models import language_model
from sdelens.seeds import generator
from sdelens.states.recording import DEPTH, View
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import Steering
from sdelens.steering.steer import steer
from sdelens.steering.steered_path import SteeredPath, length, rescaled
from sdelens.steering.writer import STEERED, add_to_last
from tests.core.steering.written import (
    DIFFUSION,
    DRIFT,
    IDS,
    SITE,
    STEPS,
    Table,
    affine,
    draws,
    identity_basis,
    one_step,
    writer,
)
from tests.spoken import Closed, spoken_study


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
        untrained, library, device, hooked = model.untrained, "", model.device, model.hooked

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


def test_lengths_are_equal_and_within_the_basis(fitted):
    own, other = torch.randn(2, 5, 16, generator=generator(5)).unbind()
    turned = rescaled(fitted.basis, own, other)
    assert torch.allclose(length(fitted.basis, turned), length(fitted.basis, own), rtol=1e-4)
    assert rescaled(fitted.basis, own, torch.zeros(5, 16)).isfinite().all()


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
    with pytest.raises(UsageError, match=r"exceeds the context of m\d \(48 tokens\)"):
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
    with pytest.raises(UsageError, match=r"6 coordinates, but states of .* have 16"):
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
