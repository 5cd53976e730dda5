"""The weights of next tokens at other temperatures, and the states after them."""

import pytest
import torch

from sdelens.branching.prefixes import Prefixes
from sdelens.branching.token_choice import TokenChoice
from sdelens.paths.documents import Documents
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling, token_choice
from sdelens_plugins.analyzers.gaussianity.spectrum import Spectrum
from sdelens_plugins.analyzers.gaussianity.temperatures import at_temperature
from tests.plugins.analyzers.gaussianity.points import DOUBLE, randn
from tests.spoken import small_bridge


def laws_of(logits, *temperatures, **settings):
    return torch.stack([Sampler(t, **settings).probabilities(logits, ()) for t in temperatures])


def uniform(prefixes, draws, seed=0):
    return torch.rand(prefixes, draws, generator=generator(seed), dtype=DOUBLE)


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.8}])
def test_enumerated_once_the_weights_are_those_of_every_temperature(settings):
    laws = laws_of(3 * randn(4, 50).float(), 0.5, 1.0, 1.5, **settings)
    found = at_temperature(laws, 2, TokenChoice(coverage=1.0), uniform(4, 0))
    for k, law in enumerate(laws):
        alone = at_temperature(law[None], 0, TokenChoice(coverage=1.0), uniform(4, 0))
        assert torch.allclose(found.weights[k], alone.weights[0], atol=1e-7)
        for name in ("exponential", "collision"):
            assert torch.allclose(getattr(found, name)[k], getattr(alone, name)[0])
    assert torch.allclose(found.listed, torch.ones(3, 4, dtype=DOUBLE))


@pytest.mark.parametrize("temperature", [0, 1, 2])
def test_some_enumerated_and_some_drawn_agree_with_all_within_the_error_of_draws(temperature):
    """The mean of a function of the token under each law; draws are of the widest alone."""
    logits = 2 * randn(1, 60).float()
    laws, values = laws_of(logits, 0.6, 1.0, 1.5), randn(60, seed=1)
    draws = 4000
    wide = laws.expand(3, draws, 60)
    found = at_temperature(wide, 2, token_choice(60, 10, 20), uniform(draws, 20))
    assert torch.allclose(found.weights.sum(-1), torch.ones(3, draws, dtype=DOUBLE))
    sums = (found.weights[temperature] * values[found.tokens]).sum(-1)
    truth = float(laws[temperature, 0].double() @ values)
    stderr = float(sums.std()) / draws**0.5
    # the bias of normalised importance weights: Cauchy and Schwarz on its first-order term
    rest = laws[[temperature, 2], 0].double().sort(-1, descending=True).values[:, 10:]
    p, w = rest / rest.sum(-1, keepdim=True)
    bias = float(sums.std()) * float((p.square() / w).sum() / 20) ** 0.5
    assert abs(float(sums.mean()) - truth) < 4 * stderr + bias * (temperature < 2)
    assert 0 < float(found.listed[temperature, 0]) < 1
    # the enumerated part is known, not drawn
    assert float(found.listed[temperature].std()) < 1e-9


def test_weights_sum_to_one_where_no_drawn_token_is_left_in_a_narrower_nucleus():
    """A nucleus of three tokens, of which two are enumerated; draws are from many more."""
    logits = torch.cat([torch.tensor([2.0, 1.9, 1.8]), torch.zeros(97)]).expand(200, -1)
    narrow = laws_of(logits[:, :3], 1.0)
    laws = torch.cat([torch.nn.functional.pad(narrow, (0, 97)), laws_of(logits, 1.5)])
    found = at_temperature(laws, 1, TokenChoice(2, most=2, coverage=0.999), uniform(200, 2))
    assert torch.allclose(found.weights.sum(-1), torch.ones(2, 200, dtype=DOUBLE))
    lost = (found.tokens[:, :2] > 2).all(-1)
    assert 0 < int(lost.sum()) < 200
    known = narrow[0, 0, :2].double()
    alone = (known / known.sum()).expand(int(lost.sum()), -1)
    assert torch.allclose(found.weights[0, lost, 2:], alone)
    # what is enumerated of the law is told as it is
    assert torch.allclose(found.listed[0], known.sum().expand(200))


def test_permuted_weights_are_the_same_ones_on_other_tokens():
    """Of every law and prefix, by one permutation; a token that no law has gets none."""
    laws = laws_of(3 * randn(40, 50).float(), 0.5, 1.5, top_p=0.9)
    found = at_temperature(laws, 1, TokenChoice(coverage=1.0), uniform(40, 0))
    permuted = found.permuted(generator(0))
    assert torch.equal(permuted.sort(-1).values, found.weights.sort(-1).values)
    assert not permuted[:, (found.weights == 0).all(0)].any()
    assert not torch.equal(permuted, found.weights)
    # one permutation: the likeliest token of one temperature is that of the other
    assert torch.equal(permuted[0].argmax(-1), permuted[1].argmax(-1))
    # any token of the prefix is as likely to have the largest weight as any other
    wide = at_temperature(
        laws[:, :1].expand(2, 4000, 50), 1, TokenChoice(coverage=1.0), uniform(4000, 0)
    )
    there = (wide.weights[1, 0] > 0).nonzero()[:, 0]
    counts = wide.permuted(generator(1))[1].argmax(-1).bincount(minlength=50)[there].double()
    expected = 4000 / len(there)
    chi = float(((counts - expected).square() / expected).sum())
    assert chi < len(there) - 1 + 5 * (2 * len(there)) ** 0.5


def test_few_tokens_are_all_enumerated():
    assert token_choice(65, 64, 8).coverage == 1
    assert token_choice(100, 64, 8).most == 64


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("small"))


def samples_of(model, prefixes=12, listed=1024, drawn=64, temperatures=(0.7, 1.0), documents=5):
    texts = Prefixes.all_of(
        Documents.of(sample(model, Sampler(), documents=documents, length=20, seed=0))
    )
    fanning = PrefixSampling(Sampler(), temperatures, prefixes, listed, drawn)
    return texts, list(fanning(model, texts, Site("block", 1), seed=0))


def test_as_many_prefixes_as_asked_for_are_spread_over_all_texts(small):
    texts, found = samples_of(small)
    assert [len(each.at) for each in found] == [3, 3, 2, 2, 2]
    for each in found:
        assert (each.at >= texts.recorded[each.row]).all()
        assert (each.at < texts.documents.lengths[each.row] - 1).all()
        assert len(each.at.unique()) == len(each.at)


def test_states_after_tokens_are_those_of_whole_passes(small):
    texts, (first, *_) = samples_of(small)
    end = int(first.at[1])
    prefix = texts.documents.padded()[first.row, : end + 1]
    tokens = first.at_temperature.tokens[1, :9]
    rows = torch.cat([prefix.expand(9, -1), tokens[:, None]], 1)
    read = small.run(rows, read=[Site("block", 1)]).reads[Site("block", 1)][:, -1]
    assert torch.allclose(first.following[1, :9], read, atol=1e-4)


def test_the_mixed_choice_has_the_moments_of_full_enumeration(small):
    """tr S* over 60 prefixes, at each temperature, where a third of the tokens are enumerated."""
    _, exact = samples_of(small, prefixes=60, documents=10)
    _, mixed = samples_of(small, prefixes=60, listed=100, drawn=64, documents=10)
    assert all(torch.equal(a.at, b.at) for a, b in zip(exact, mixed, strict=True))
    for k in range(2):
        off = torch.cat([traces(b, k) - traces(a, k) for a, b in zip(exact, mixed, strict=True)])
        size = torch.cat([traces(a, k) for a in exact]).mean()
        # a variance of 64 draws is too small by a 64th of the drawn part
        assert abs(float(off.mean())) < 4 * float(off.std()) / len(off) ** 0.5 + float(size) / 64


def traces(of, law):
    return Spectrum.of(of.following, of.at_temperature.weights[law]).variance
