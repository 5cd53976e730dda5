"""The parts of motion against a chain in which they are known, and against what occurred."""

import pytest
import torch

from sdelens.branching.agreement import Agreement, agreeing
from sdelens.branching.branched import Branching
from sdelens.branching.choice import Choice
from sdelens.branching.decomposition import Decomposition
from sdelens.branching.measuring import measured
from sdelens.branching.predictors import Larger, Predictors
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.transition import transitions
from sdelens.errors import UsageError
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Viewed
from sdelens.models import language_model
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.protocols import Site
from sdelens.states.capturing import record
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler, sample
from tests.chain import SITE, Chain, chain_study
from tests.language import kernel

LARGER = Larger(centres=4, lags=1)
WIDER = Larger(centres=4, lags=2)


def linear(decay):
    """A law x' = decay x in the states' own coordinates."""

    def law(basis):
        shift = float(basis.means[0] @ basis.encoder)
        assert abs(shift) < 0.2  # so that what the mean adds is within the tests' error
        return kernel(decay, 1, ConstantNoise(torch.ones(1)))

    return law


def decomposed(study, larger=LARGER, *, choice=None, own=True, every=1):
    ((view, viewed),) = study.views.items()
    texts = Documents.of(list(study.documents)[180:])
    prefixes = Prefixes.all_of(texts)
    found = measured(
        study.model,
        {view.site: Predictors.of(viewed, larger, seed=0)},
        Branching(study.sampler or Sampler(), choice or Choice(), every=every),
        prefixes,
        torch.zeros(texts.padded().shape, dtype=torch.long),
        cells=1,
        seed=0,
    )
    one = torch.ones(1, 1, dtype=torch.float64)
    return Decomposition.of(found.products[view.site], one, own=own, seed=0), found


@pytest.fixture(scope="module")
def chain():
    return Chain()


@pytest.fixture(scope="module")
def rho(chain):
    return chain.a / (1 - chain.c)


@pytest.fixture(scope="module")
def study(chain, rho):
    return chain_study(chain, linear(rho), sampler=Sampler())


def within(interval, truth, errors=2.0):
    off = (interval.value - truth).abs()
    return bool((off <= errors * interval.stderr + 1e-4).all())


@pytest.mark.parametrize("coverage", [0.0, 0.6, 1.0])
def test_the_shares_of_a_chain_with_a_hidden_bit_are_the_closed_form(chain, study, coverage):
    found, _ = decomposed(study, choice=Choice(2, coverage))
    assert found.names == ("drift", "misfit", "memory", "unreached", "sampler")
    assert within(found.shares[0], chain.shares)
    assert float(found.shares.value.sum()) == pytest.approx(1, abs=1e-12)
    assert within(found.gains[0], torch.tensor(1.0))


@pytest.mark.parametrize("decay", [0.0, 0.7])
def test_a_drift_of_the_wrong_size_has_a_gain_and_the_same_share(chain, rho, decay):
    study = chain_study(chain, linear(decay), sampler=Sampler())
    found, _ = decomposed(study)
    assert within(found.gains[0], torch.tensor((1 - rho) / (1 - decay)))
    assert within(found.shares[0], chain.shares)


def test_without_the_hidden_bit_nothing_is_unreached():
    chain = Chain(a=0.5, b=0.0, c=0.0)
    study = chain_study(chain, linear(0.5), sampler=Sampler())
    found, _ = decomposed(study, WIDER)
    assert within(found.shares[0], chain.shares, errors=3)
    # what is nothing is shown as it comes out, negative too
    assert (found.shares.value[0, 1:4].abs() < 0.01).all()


def test_shares_do_not_depend_on_the_number_of_branches(study):
    two, four = (decomposed(study, choice=Choice(b), every=2)[0] for b in (2, 4))
    assert within(two.shares[0], four.shares.value[0])
    assert float(four.shares.stderr[0, 3]) < float(two.shares.stderr[0, 3])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5])
def test_texts_agree_with_the_law_that_drew_them_and_with_no_other(chain, rho, temperature):
    sampler = Sampler(temperature)
    study = chain_study(Chain(heat=1.0), linear(rho), sampler=sampler, temperature=temperature)
    assert decomposed(study)[1].agreement.holds
    other = Sampler(temperature + 0.4)
    prefixes = Prefixes.all_of(study.documents)
    sums = sum(
        agreeing(text, prefixes)
        for text in Branching(other, Choice())(study.model, prefixes, [SITE], seed=0)
    )
    agreement = Agreement.of(sums)
    assert not agreement.holds
    with pytest.raises(UsageError, match="surprisal less entropy"):
        agreement.require(other)


def test_a_text_that_is_not_the_models_own_has_no_sampler(chain, rho):
    """Texts drawn at temperature 1 from a hotter model, which is branched as it stands.

    The motion that occurred is that of the texts' own chain: drift and memory are its own.
    """
    study = chain_study(chain, linear(rho))
    tamer = Chain(a=0.9, b=0.0, c=0.0)
    found, _ = decomposed(type(study)("s", study.views, study.documents, tamer), own=False)
    assert found.names == ("drift", "misfit", "memory", "text", "model")
    assert within(found.shares[0, :3], chain.shares[:3])
    left = float(chain.shares[3:].sum())
    assert within(
        found.shares[0, 3:].__class__(*(p.sum() for p in vars(found.shares[0, 3:]).values())), left
    )
    # of the tamer chain: E|X' - c|² with X' = .9 X on average, c = rho X + c (X_(t-1) - rho X_t)
    kept = torch.tensor([rho - chain.c * rho, chain.c])
    cross = torch.tensor([[1.0, rho], [rho, 1.0]])
    branched = 1 + kept @ cross @ kept - 2 * 0.9 * (kept[0] + kept[1] * rho)
    motion = 2 * (1 - rho)
    assert within(found.shares[0, 4], float(branched) / motion)


# --- a model and what occurred


def paths_of(model, layer, *, temperature, documents, length):
    sampler = Sampler(temperature)
    texts = Documents.of(sample(model, sampler, documents=documents, length=length, seed=0))
    site = Site("block", layer)
    paths = record(model, texts, [site], skip_first=1).view(View(site))
    basis = fit_basis(BasisSpec("standard"), paths)
    law = kernel(0.5, basis.latent, ConstantNoise(torch.ones(basis.latent)))
    fitted = Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0))
    return sampler, texts, site, Viewed(fitted, paths, paths, paths)


def discrepancy(model, layer, *, temperature, documents=200, length=24, every=1):
    """Motion to branches over that which occurred, less 1."""
    sampler, texts, site, viewed = paths_of(
        model, layer, temperature=temperature, documents=documents, length=length
    )
    found = measured(
        model,
        {site: Predictors.of(viewed, Larger(8, 1, 2000), seed=0)},
        Branching(sampler, Choice(), every=every),
        Prefixes.all_of(texts),
        torch.zeros(texts.padded().shape, dtype=torch.long),
        cells=1,
        seed=0,
    )
    one = torch.ones(1, 1, dtype=torch.float64)
    result = Decomposition.of(found.products[site], one, own=True, seed=0)
    assert found.agreement.holds
    assert found.cached
    return result.discrepancy


TEMPERATURES = [0.5, 1.0, 1.5]


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_motion_to_branches_is_the_motion_that_occurred(shared_model, temperature):
    found = discrepancy(shared_model, 0, temperature=temperature, length=16)
    assert abs(float(found.value)) < 2 * float(found.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_motion_to_branches_is_the_motion_that_occurred_in_long_texts(shared_model, temperature):
    last = shared_model.card.blocks - 1
    found = discrepancy(shared_model, last, temperature=temperature, length=100, documents=300)
    assert abs(float(found.value)) < 2 * float(found.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_so_it_is_of_the_embedded_model(temperature):
    found = discrepancy(language_model("tiny"), 6, temperature=temperature, length=60)
    assert abs(float(found.value)) < 2 * float(found.stderr)


def test_branches_of_a_true_law_correlate_with_its_noise_only_through_the_hidden_bit(study, chain):
    """S* + (m* - m)² of the chain has the mean 1 - rho², S* less what the fit does not know."""
    ((view, viewed),) = study.views.items()
    texts = Documents.of(list(study.documents)[180:])
    prefixes = Prefixes.all_of(texts)
    cell = torch.zeros(texts.padded().shape, dtype=torch.long)
    branching = Branching(Sampler(), Choice())
    found = transitions(
        study.model, {view.site: viewed.fitted}, branching, prefixes, cell, kept=5, seed=0
    )
    noise, rho = found.sites[view.site].noise, chain.a / (1 - chain.c)
    for values, truth in (
        (noise.total, 1 - rho**2),
        (noise.sampler, 2 * (1 - rho) * float(chain.shares[4])),
    ):
        sums = found.by(torch.stack([values, torch.ones_like(values)]), 1, prefixes.units)[:, 0]
        each = sums[0] / sums[1]
        assert abs(float(each.mean()) - truth) < 3 * float(each.std()) / len(each) ** 0.5 + 5e-3
    assert found.sites[view.site].mean.shape == (5, 1)
    assert float(found.words[0].mean()) < torch.log(torch.tensor(4.0))
