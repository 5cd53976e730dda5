"""Motion to branches is the motion that occurred; noise and cross-entropy of a chain."""

import pytest
import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.next_state_law import next_state_laws
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.token_choice import TokenChoice
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Viewed
from sdelens.models import language_model
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.protocols import Site
from sdelens.states.capturing import record
from sdelens.states.generation import sample
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.decomposition.measurement import measure
from sdelens_plugins.analyzers.decomposition.predictors import LargerProbe, Predictors
from sdelens_plugins.analyzers.decomposition.shares import Decomposition
from tests.language import kernel
from tests.plugins.analyzers.decomposition.chains import linear, stationary


def paths_of(model, layer, *, temperature, documents, length):
    sampler = Sampler(temperature)
    texts = Documents.of(sample(model, sampler, documents=documents, length=length, seed=0))
    site = Site("block", layer)
    paths = record(model, texts, [site], skip_first=1).view(View(site))
    basis = fit_basis(BasisSpec("standard"), paths)
    law = kernel(0.5, basis.latent, ConstantNoise.independent(torch.ones(basis.latent)))
    fitted = Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0))
    return sampler, texts, site, Viewed(fitted, paths, paths, paths)


def discrepancy(model, layer, *, temperature, documents=200, length=24, every=1):
    """Motion to branches over that which occurred, less 1."""
    sampler, texts, site, viewed = paths_of(
        model, layer, temperature=temperature, documents=documents, length=length
    )
    found = measure(
        model,
        {site: Predictors.of(viewed, LargerProbe(8, 1, 2000), seed=0)},
        BranchSampler(sampler, TokenChoice(), every=every),
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
    assert abs(float(found.value)) < 3 * float(found.stderr)


def test_so_it_is_of_short_texts_of_the_embedded_model():
    found = discrepancy(language_model("tiny"), 2, temperature=1.0, length=10)
    assert abs(float(found.value)) < 2 * float(found.stderr)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_so_it_is_of_the_embedded_model(temperature):
    found = discrepancy(language_model("tiny"), 6, temperature=temperature, length=60)
    assert abs(float(found.value)) < 3 * float(found.stderr)


def test_the_average_noise_of_a_chain_is_the_closed_form(study, chain):
    """S* + (m* - m)² of the chain has the mean 1 - rho², S* less what the fit does not know."""
    ((view, viewed),) = study.views.items()
    texts = Documents.of(list(study.documents)[180:])
    prefixes = stationary(texts)
    cell = torch.zeros(texts.padded().shape, dtype=torch.long)
    branching = BranchSampler(Sampler(), TokenChoice())
    found = next_state_laws(
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


@pytest.mark.parametrize("coverage", [0.0, 1.0])
def test_the_cross_entropy_of_a_chain_is_the_closed_form_drawn_or_enumerated(
    study, chain, coverage
):
    """Under N(rho x, 1) it is (log 2 pi + E(y - rho x)²) / 2, in units of the deviation s."""
    ((view, viewed),) = study.views.items()
    texts = Documents.of(list(study.documents)[180:])
    prefixes = stationary(texts)
    found = next_state_laws(
        study.model,
        {view.site: viewed.fitted},
        BranchSampler(Sampler(), TokenChoice(2, coverage)),
        prefixes,
        torch.zeros(texts.padded().shape, dtype=torch.long),
        kept=0,
        rivals={view.site: {"still": linear(1.0)}},
        seed=0,
    )
    nats, rho = found.sites[view.site].nats, chain.a / (1 - chain.c)
    count = torch.bincount(found.unit, minlength=prefixes.units).double()
    each = nats.branched / count
    error = each.std(1) / prefixes.units**0.5
    half = torch.tensor(2 * torch.pi).log() / 2 - viewed.fitted.basis.spread.log()
    assert abs(float(each[0].mean() - half) - (1 - rho**2) / 2) < 3 * float(error[0])
    # a state that is thought to stay moves by 2 (1 - rho) on average
    more = each[1] - each[0]
    truth = (2 * (1 - rho) - (1 - rho**2)) / 2
    assert abs(float(more.mean()) - truth) < 3 * float(more.std()) / prefixes.units**0.5
    off = (nats.occurred - nats.branched)[0] / count
    assert abs(float(off.mean())) < 3 * float(off.std()) / prefixes.units**0.5
