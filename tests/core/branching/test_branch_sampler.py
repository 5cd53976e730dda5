"""Branches: which tokens, through the cache or not, and what they tell without bias."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.next_state_moments import NextStateMoments
from sdelens.branching.prefix_cache import PrefixCache
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.token_choice import TokenChoice, WeightedTokens
from sdelens.errors import UsageError
from sdelens.model_protocols import BranchingModel
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import Pass, Site
from sdelens.seeds import generator
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler
from tests.chain import SITE, Chain
from tests.spoken import Closed, small_bridge

LAW = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("small"))


def texts(model, documents=5, length=20, seed=0):
    drawn = sample(model, Sampler(), documents=documents, length=length, seed=seed)
    return Prefixes.all_of(Documents.of(drawn))


def ends(model):
    return [Site("block", k) for k in range(model.card.blocks)]


def gathered(model, prefixes, *, site, sampler=None, choice=None, **settings):
    """Tokens, weights and states ahead of every prefix, by document and position."""
    found = {}
    branching = BranchSampler(sampler or Sampler(), choice or TokenChoice(), **settings)
    for text in branching(model, prefixes, [site], seed=0):
        for places, ahead in text.pieces():
            row, place = text.inside[:, places].nonzero(as_tuple=True)
            here = text.law.chosen[row, place + places.start]
            keys = zip(text.row[row].tolist(), text.at[places][place].tolist(), strict=True)
            values = zip(here.tokens, here.weights, ahead[site][row, place], strict=True)
            found |= dict(zip(keys, values, strict=True))
    return found


# --- which tokens


@given(st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]), st.integers(2, 5))
def test_weights_sum_to_one_and_no_token_of_probability_zero_counts(seed, coverage, branches):
    random = generator(seed)
    law = torch.rand(3, 7, generator=random, dtype=torch.float64).pow(4)
    law[:, 2] = 0
    choice = TokenChoice(branches, coverage, most=3)
    uniform = torch.rand(3, choice.draws, generator=random, dtype=torch.float64)
    chosen = choice.of(law / law.sum(-1, keepdim=True), uniform)
    assert torch.allclose(chosen.weights.sum(-1), torch.ones(3, dtype=torch.float64))
    assert (chosen.weights[chosen.tokens == 2] == 0).all()


def expectation(choice, values, draws=20_000):
    """Of the weighted sum of a function of the token, with its standard error."""
    uniform = torch.rand(draws, choice.draws, generator=generator(1), dtype=torch.float64)
    chosen = choice.of(LAW.expand(draws, -1), uniform)
    sums = (chosen.weights * values[chosen.tokens]).sum(-1)
    return float(sums.mean()), float(sums.std()) / draws**0.5


@pytest.mark.parametrize("coverage", [0.0, 0.4, 0.7])
def test_a_part_that_is_enumerated_and_a_rest_that_is_drawn_have_no_bias(coverage):
    values = torch.tensor([1.0, -2.0, 5.0, 9.0, 1e6], dtype=torch.float64)
    mean, stderr = expectation(TokenChoice(2, coverage), values)
    assert abs(mean - float(LAW @ values)) < 4 * stderr


def test_enumeration_takes_every_token_with_its_probability():
    chosen = TokenChoice(coverage=1.0).of(LAW[None], torch.empty(1, 0, dtype=torch.float64))
    assert chosen.tokens.tolist() == [[0, 1, 2, 3, 4]]
    assert torch.equal(chosen.weights[0], LAW)


@pytest.mark.parametrize(
    ("settings", "said"),
    [({"branches": 1}, "at least 2"), ({"coverage": 1.5}, "coverage"), ({"most": 0}, "most")],
)
def test_what_cannot_be_drawn_is_refused(settings, said):
    with pytest.raises(UsageError, match=said):
        TokenChoice(**settings)


# --- what branches tell


@pytest.mark.parametrize("coverage", [0.0, 0.4, 0.7, 1.0])
def test_mean_square_and_noise_are_unbiased_however_tokens_are_chosen(coverage):
    """|m*|² and tr S* of a law over points, where m* is off the origin."""
    points = torch.randn(5, 3, generator=generator(2), dtype=torch.float64) + 1
    weights, draws = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64), 20_000
    choice = TokenChoice(2, coverage)
    draws = 1 if coverage == 1 else draws
    uniform = torch.rand(draws, choice.draws, generator=generator(3), dtype=torch.float64)
    chosen = choice.of(LAW.expand(draws, -1), uniform)
    ahead = NextStateMoments.of(points[chosen.tokens], chosen)
    mean = LAW @ points
    centred = points - mean
    truth = (LAW[:, None] * centred).mT @ centred
    noise = ahead.noise(weights)
    square = (ahead.mean.square() @ weights) / 3 - ahead.error(weights)
    spread = max(float(noise.std()), 1e-12) if draws > 1 else 1e-12
    assert abs(float(noise.mean() - truth.diagonal() @ weights / 3)) < 4 * spread / draws**0.5
    spread = float(square.std()) if draws > 1 else 1e-12
    assert abs(float(square.mean() - mean.square() @ weights / 3)) < 4 * spread / draws**0.5
    size = float(truth.abs().max()) * (0 if coverage == 1 else 10 / draws**0.5) + 1e-9
    assert (ahead.covariance() / draws - truth).abs().max() < size


# --- through the cache


def test_a_bridge_shares_its_cache(small):
    assert isinstance(small, BranchingModel)
    assert not isinstance(Chain(), BranchingModel)


@pytest.mark.parametrize("every", [1, 3])
def test_states_are_those_of_whole_passes_at_every_layer(shared_model, every):
    prefixes = texts(shared_model, documents=3, length=24)
    ids = prefixes.documents.padded().clamp(min=0)
    at = torch.arange(every - 1, ids.shape[1] - 1, every)
    tokens = torch.randint(shared_model.card.vocabulary, (3, len(at), 3), generator=generator(4))
    sites = [Site("embed"), *ends(shared_model)]
    feeder = PrefixCache.of(shared_model, ids, sites, cached=True)
    quick, slow = feeder.feed(tokens, at), feeder.recomputed(tokens, at)
    for site in sites:
        size = float(slow[site].square().mean().sqrt())
        assert (quick[site] - slow[site]).abs().max() < 1e-4 * size


@pytest.mark.parametrize("settings", [{"cached": False}, {"memory": 1}, {"memory": 4}])
def test_neither_the_cache_nor_the_batch_makes_a_difference(small, settings):
    prefixes, site = texts(small, documents=7), Site("block", 2)
    usual = gathered(small, prefixes, site=site)
    other = gathered(small, prefixes, site=site, **settings)
    assert usual.keys() == other.keys()
    for key, (tokens, _, states) in usual.items():
        assert torch.equal(tokens, other[key][0])
        assert torch.allclose(states, other[key][2], atol=1e-4)


def test_a_cache_is_left_as_it_was(small):
    ids = texts(small).documents.padded().clamp(min=0)
    feeder = PrefixCache.of(small, ids, ends(small), cached=True)
    before = [(layer.keys.clone(), layer.values.clone()) for layer in feeder.past.layers]
    feeder.feed(torch.zeros(len(ids), 3, 2, dtype=torch.long), torch.tensor([2, 5, 9]))
    for layer, (keys, values) in zip(feeder.past.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)
        assert torch.equal(layer.values, values)


class Wrong(Closed):
    """An adapter whose shared cache gives other states than whole passes do."""

    def run(self, tokens, **settings):
        return self.model.run(tokens, **settings)

    def branch(self, tokens, *, past, after, read):
        out = self.model.branch(tokens, past=past, after=after, read=read)
        return Pass({site: value + 1 for site, value in out.reads.items()})


def test_a_cache_that_cannot_be_shared_is_noticed_and_not_used(small):
    prefixes, site = texts(small, documents=3), Site("block", 1)
    found = list(BranchSampler(Sampler(), TokenChoice())(Wrong(small), prefixes, [site], seed=0))
    assert not found[0].cached
    right, wrong = (gathered(m, prefixes, site=site) for m in (small, Wrong(small)))
    assert all(torch.allclose(right[k][2], wrong[k][2], atol=1e-4) for k in right)


def test_draws_do_not_depend_on_which_prefixes_are_asked_for(small):
    prefixes, site = texts(small), Site("block", 0)
    each, some = (gathered(small, prefixes, site=site, every=k) for k in (1, 3))
    assert len(some) < len(each)
    assert all(torch.equal(tokens, each[key][0]) for key, (tokens, _, _) in some.items())


def test_every_prefix_that_has_a_next_token_is_branched_and_no_other(small):
    prefixes = texts(small)
    late = replace(prefixes, recorded=prefixes.recorded + 4)
    lengths = prefixes.documents.lengths.tolist()
    expected = {(row, t) for row, n in enumerate(lengths) for t in range(5, n - 1)}
    assert set(gathered(small, late, site=Site("block", 0))) == expected


def test_the_sampling_settings_shape_the_branches(char_gpt2):
    prefixes = texts(char_gpt2, documents=3)
    narrow = Sampler(top_p=0.3)
    found = gathered(
        char_gpt2, prefixes, site=SITE, sampler=narrow, choice=TokenChoice(coverage=1.0)
    )
    kept = [int((weights > 0).sum()) for _, weights, _ in found.values()]
    assert max(kept) < 10
    ban, every = Sampler(ignore_eos=True), TokenChoice(coverage=1.0)
    banned = gathered(char_gpt2, prefixes, site=SITE, sampler=ban, choice=every)
    assert all(float(weights[char_gpt2.card.eos]) == 0 for _, weights, _ in banned.values())


def test_enumeration_and_branching_agree_on_a_small_vocabulary(char_gpt2):
    """tr S* and |m* - c|² on average over prefixes of 40 documents; errors are of the branches."""
    prefixes, site = texts(char_gpt2, documents=40, length=30), Site("block", 3)
    exact = gathered(char_gpt2, prefixes, site=site, choice=TokenChoice(coverage=1.0), every=3)
    drawn = gathered(char_gpt2, prefixes, site=site, every=3)
    mixed = gathered(char_gpt2, prefixes, site=site, choice=TokenChoice(2, 0.5), every=3)
    centre = torch.stack([ahead_of(exact[k], 0).mean for k in exact]).mean(0)
    truth = told(exact, exact, centre, 0)
    for other in (drawn, mixed):
        noise, square, error = told(other, exact, centre, 2)
        for off in (noise - truth[0], square - truth[1]):
            assert abs(float(off.mean())) < 3 * float(off.std()) / len(off) ** 0.5
        # what is not corrected is too large, and this is enough to see it
        off = square + error - truth[1]
        assert float(off.mean()) > 3 * float(off.std()) / len(off) ** 0.5
        for key in exact:
            assert float(exact[key][1].sum()) == pytest.approx(1)


def ahead_of(found, drawn):
    tokens, weights, states = found
    return NextStateMoments.of(states.double(), WeightedTokens(tokens, weights, drawn))


def told(found, keys, centre, drawn):
    """Noise, squared distance of the mean from a centre, and the error taken off it, by prefix."""
    ones = torch.ones(len(centre), dtype=torch.float64)
    each = [ahead_of(found[key], drawn) for key in keys]
    noise, error = (torch.stack([getattr(a, n)(ones) for a in each]) for n in ("noise", "error"))
    square = torch.stack([(a.mean - centre).square().mean() for a in each])
    return noise, square - error, error


def test_texts_too_short_to_branch_are_refused(small):
    prefixes = Prefixes.all_of(Documents.of([Document((0,))]))
    with pytest.raises(UsageError, match="the longest text has 1 tokens"):
        list(BranchSampler(Sampler(), TokenChoice())(small, prefixes, [Site("block", 0)], seed=0))


def test_a_stride_that_meets_no_prefix_is_refused(small):
    """Prefixes begin to count at the 18th token, and the 15th alone is met."""
    prefixes = texts(small)
    late = replace(prefixes, recorded=torch.full_like(prefixes.recorded, 17))
    sites = [Site("block", 0)]
    with pytest.raises(UsageError, match="use a smaller `every`"):
        list(BranchSampler(Sampler(), TokenChoice(), every=15)(small, late, sites, seed=0))
    assert list(BranchSampler(Sampler(), TokenChoice(), every=1)(small, late, sites, seed=0))


@pytest.mark.parametrize("settings", [{"every": 0}, {"memory": 0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(UsageError, match="at least 1"):
        BranchSampler(Sampler(), TokenChoice(), **settings)
