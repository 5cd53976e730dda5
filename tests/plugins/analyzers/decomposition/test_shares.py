"""The parts of motion against a chain in which they are known, and against what occurred."""

from dataclasses import replace

import pytest
import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import COARSE, RULED_OUT, SamplerCheck, agreeing, at_the_edge
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import UsageError
from sdelens.models import language_model
from sdelens.paths.documents import Documents
from sdelens.seeds import generator
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.decomposition.measurement import measure
from sdelens_plugins.analyzers.decomposition.predictors import LargerProbe, Predictors
from sdelens_plugins.analyzers.decomposition.shares import Decomposition
from tests.chain import SITE, Chain, chain_study
from tests.plugins.analyzers.decomposition.chains import TEXTS, linear, stationary

LARGER = LargerProbe(centres=4, lags=1)


WIDER = LargerProbe(centres=4, lags=2)


def decomposed(study, larger=LARGER, *, choice=None, own=True, every=1, seed=0):
    ((view, viewed),) = study.views.items()
    texts = Documents.of(list(study.documents)[180:])
    prefixes = stationary(texts)
    found = measure(
        study.model,
        {view.site: Predictors.of(viewed, larger, seed=0)},
        BranchSampler(study.sampler or Sampler(), choice or TokenChoice(), every=every),
        prefixes,
        torch.zeros(texts.padded().shape, dtype=torch.long),
        cells=1,
        seed=seed,
    )
    one = torch.ones(1, 1, dtype=torch.float64)
    return Decomposition.of(found.products[view.site], one, own=own, seed=0), found


def within(interval, truth, errors=2.0):
    off = (interval.value - truth).abs()
    return bool((off <= errors * interval.stderr + 1e-4).all())


@pytest.mark.parametrize("coverage", [0.0, 0.6, 1.0])
def test_the_shares_of_a_chain_with_a_hidden_bit_are_the_closed_form(chain, studies, coverage):
    """Over six samples of texts, the mean within 2 of its standard errors.

    Probes of the memory fall short of it by up to one standard error of a single sample, which the
    unexplained part gains; over 40 samples this is significant.
    """
    found = [decomposed(study, choice=TokenChoice(2, coverage), every=2)[0] for study in studies]
    assert found[0].names == ("drift", "lack_of_fit", "memory", "unexplained", "sampling_noise")
    shares, errors, gains = (
        torch.stack([part[0] for part in parts])
        for parts in zip(
            *((f.shares.value, f.shares.stderr, f.gains.value) for f in found), strict=True
        )
    )
    off = (shares.mean(0) - chain.shares).abs()
    short = errors.mean(0)
    assert (off <= 2 * (errors.square().sum(0).sqrt() / TEXTS + 1e-5) + short).all()
    assert torch.allclose(shares.sum(1), torch.ones(TEXTS).double(), atol=1e-12)
    assert float(gains.mean()) == pytest.approx(1, abs=0.03)
    # and the errors are what they claim: the ratio of a spread of six to its truth
    real = shares.std(0)[[0, 2, 3, 4]] / errors.mean(0)[[0, 2, 3, 4]]
    assert ((real > 0.35) & (real < 1.8)).all()


def test_all_drift_of_a_linear_chain_is_return_to_its_mean(chain, rho, studies):
    """In one dimension the best linear drift is (rho - 1) x, and x has the mean 0: (1 - rho) / 2.

    It takes no fit, so that one that says nothing at all leaves it as it is.
    """
    found = [decomposed(study, every=2)[0] for study in studies]
    shares, errors = (
        torch.stack([getattr(one.reversion, name)[0] for one in found])
        for name in ("value", "stderr")
    )
    error = float(errors.square().sum().sqrt()) / TEXTS
    # the mean of 150 training states at each position is itself off by 1/150 of their variance
    assert abs(float(shares.mean()) - (1 - rho) / 2) < 2 * error + (1 - rho) / 300
    ((view, viewed),) = studies[0].views.items()
    still = replace(viewed, fitted=replace(viewed.fitted, law=linear(1.0)))
    nothing, _ = decomposed(replace(studies[0], views={view: still}), every=2)
    assert abs(float(nothing.shares.value[0, 0])) < 1e-6
    assert float(nothing.reversion.value[0]) == pytest.approx(float(shares[0]), abs=1e-9)


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_a_drift_of_the_wrong_size_has_a_gain_and_the_same_share(chain, rho, study, decay):
    ((view, viewed),) = study.views.items()
    off = replace(viewed, fitted=replace(viewed.fitted, law=linear(decay)))
    found, _ = decomposed(replace(study, views={view: off}))
    right, _ = decomposed(study)
    ratio = float(found.gains.value[0] / right.gains.value[0])
    assert ratio == pytest.approx((1 - rho) / (1 - decay), rel=1e-6)
    assert torch.allclose(found.shares.value, right.shares.value, atol=1e-4)


def test_without_the_hidden_bit_nothing_is_unexplained():
    chain = Chain(a=0.5, b=0.0, c=0.0)
    study = chain_study(chain, linear(0.5), sampler=Sampler())
    several = [decomposed(study, WIDER, seed=seed, every=3)[0] for seed in range(9)]
    unexplained = torch.stack([found.shares.value[0, 3] for found in several])
    assert abs(float(unexplained.mean())) < 3 * float(unexplained.std()) / 3
    assert float(unexplained.min()) < 0 < float(unexplained.max())  # shown as it comes out
    stderr = torch.stack([found.shares.stderr[0, 3] for found in several])
    # nine deviations have a spread that is off by a quarter of itself
    assert float(unexplained.std() / stderr.mean()) == pytest.approx(1, abs=0.6)


def test_shares_do_not_depend_on_the_number_of_branches(study):
    two, four = (decomposed(study, choice=TokenChoice(b), every=2)[0] for b in (2, 4))
    assert within(two.shares[0], four.shares.value[0], errors=3.0)
    assert float(four.shares.stderr[0, 3]) < float(two.shares.stderr[0, 3])


@pytest.mark.parametrize("temperature", [0.5, 1.5])
def test_texts_agree_with_the_law_that_drew_them_and_with_no_other(chain, rho, temperature):
    sampler = Sampler(temperature)
    study = chain_study(Chain(heat=1.0), linear(rho), sampler=sampler, temperature=temperature)
    assert decomposed(study)[1].agreement.holds
    other = Sampler(temperature + 0.4)
    prefixes = Prefixes.all_of(study.documents)
    sums = sum(
        agreeing(text, prefixes)
        for text in BranchSampler(other, TokenChoice())(study.model, prefixes, [SITE], seed=0)
    )
    agreement = SamplerCheck.of(sums)
    assert not agreement.holds
    with pytest.raises(UsageError, match="surprisal minus entropy"):
        agreement.require(other)


@pytest.mark.parametrize("documents", [2, 3, 5, 20])
def test_texts_of_the_law_are_not_refused_by_chance_however_few(documents):
    """None of 1,000 runs with an excess of mean 0; many see a shift of three deviations."""
    random = generator(documents)
    count = torch.full((documents,), 100.0, dtype=torch.float64)
    none = torch.zeros_like(count)
    drawn = torch.randn(1000, documents, generator=random, dtype=torch.float64)
    assert all(SamplerCheck.of(torch.stack([10 * one, count, none])).holds for one in drawn)
    far = SamplerCheck.of(torch.stack([10 * drawn[0] + 30, count, none]))
    assert far.holds == (documents < 20)


def test_texts_of_a_nucleus_in_16_bits_are_not_refused_for_their_rounding():
    """Whole passes rule out a few tokens at its edge; a narrower nucleus rules out many."""
    model, drawn = language_model("tiny", dtype="bfloat16"), Sampler(top_p=0.5)
    prefixes = Prefixes.all_of(Documents.of(sample(model, drawn, documents=24, length=40, seed=0)))
    found = {}
    for sampler in (drawn, Sampler(top_p=0.4)):
        branched = BranchSampler(sampler, TokenChoice())(model, prefixes, [SITE], seed=0)
        sums = sum(agreeing(text, prefixes) for text in branched)
        found[sampler] = SamplerCheck.of(sums, at_the_edge(sampler, model.card.dtype))
    assert RULED_OUT < found[drawn].ruled_out < COARSE / 2
    assert found[drawn].holds
    assert not found[Sampler(top_p=0.4)].holds


def test_only_a_nucleus_in_16_bits_has_a_coarse_edge():
    assert at_the_edge(Sampler(top_p=0.9), "float16") == COARSE
    assert at_the_edge(Sampler(top_p=0.9), "float32") == RULED_OUT
    assert at_the_edge(Sampler(ignore_eos=True), "bfloat16") == RULED_OUT


def test_one_document_does_not_tell_whether_its_surprisal_is_too_large():
    one = SamplerCheck.of(torch.tensor([[500.0], [100.0], [0.0]], dtype=torch.float64))
    assert one.holds
    assert not one.checked
    assert not SamplerCheck.of(torch.tensor([[0.0], [100.0], [9.0]], dtype=torch.float64)).holds


def test_a_text_that_is_not_the_models_own_has_no_sampling_noise(chain, rho):
    """Texts of one chain under the law of another, which is branched as it stands.

    The motion that occurred is that of the texts' own chain: drift and memory are its own.
    """
    tamer = Chain(a=0.9, b=0.0, c=0.0)
    study = replace(chain_study(chain, linear(rho)), model=tamer)
    found, _ = decomposed(study, own=False)
    assert found.names == ("drift", "lack_of_fit", "memory", "mismatch", "model_residual")
    assert within(found.shares[0, :3], chain.shares[:3])
    left = float(chain.shares[3:].sum())
    assert float(found.shares.value[0, 3:].sum()) == pytest.approx(left, abs=0.01)
    # of the tamer chain: E|X' - c|² with X' = .9 X on average, c = rho X + c (X_(t-1) - rho X_t)
    kept = torch.tensor([rho - chain.c * rho, chain.c])
    cross = torch.tensor([[1.0, rho], [rho, 1.0]])
    branched = 1 + kept @ cross @ kept - 2 * 0.9 * (kept[0] + kept[1] * rho)
    motion = 2 * (1 - rho)
    assert within(found.shares[0, 4], float(branched) / motion)
