"""Null data sets keep what they must and lose what they must."""

import math
from dataclasses import replace

import torch

from sdelens.language.nulls import Sides, permuted_states, permuted_tokens
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def autoregression(paths, steps, *, seed, decay=0.6, dim=2):
    noise = torch.randn(steps, paths, dim, generator=generator(seed))
    states = [noise[0] / (1 - decay**2) ** 0.5]
    for step in noise[1:]:
        states.append(decay * states[-1] + step)
    return Trajectories.from_states(torch.stack(states, dim=1), 1.0)


def test_permuted_states_are_the_same_states_of_each_path_where_it_was_observed():
    block = autoregression(5, 9, seed=0)
    mask = (torch.arange(9) >= 2) & (torch.arange(9) < torch.tensor([9, 5, 3, 9, 2])[:, None])
    block = replace(block, mask=mask)
    found = next(iter(permuted_states(block, seed=1)))
    assert torch.equal(found.mask, mask)
    assert torch.equal(found.states[~mask], block.states[~mask])
    for path in range(5):
        before, after = (b.states[path][mask[path]] for b in (block, found))
        assert sorted(before.tolist()) == sorted(after.tolist())
    assert not torch.equal(found.states, block.states)
    assert torch.equal(found.states, next(iter(permuted_states(block, seed=1))).states)
    assert not torch.equal(found.states, next(iter(permuted_states(block, seed=2))).states)


def test_permuted_tokens_keep_each_documents_words_and_its_start():
    documents = Documents.of(
        [Document(tuple(range(100 * d, 100 * d + n))) for d, n in enumerate((30, 1, 12))]
    )
    found = permuted_tokens(documents, seed=0, keep=2)
    assert torch.equal(found.offsets, documents.offsets)
    for before, after in zip(documents, found, strict=True):
        assert after.tokens[:2] == before.tokens[:2]
        assert sorted(after.tokens) == sorted(before.tokens)
    assert not torch.equal(found.tokens, documents.tokens)
    assert torch.equal(found.tokens, permuted_tokens(documents, seed=0, keep=2).tokens)


def test_a_linear_fit_gains_its_known_nats_and_none_from_states_in_random_order():
    real = Sides(*(autoregression(n, 120, seed=n) for n in (150, 30, 60)))
    groups = torch.arange(150)
    gain = real.linear_gain(BasisSpec("standard"), groups)
    known = -0.5 * math.log(1 - 0.36)
    # 150 x 119 transitions train: what is fitted costs p/2N = .0035 nats per dimension
    assert abs(float(gain.value) + 0.0035 - known) < 4 * float(gain.stderr)
    null = real.permuted(seed=0).linear_gain(BasisSpec("standard"), groups)
    assert abs(float(null.value)) < 4 * float(null.stderr) + 0.001
    assert float(null.value) < float(gain.value) - 10 * float(gain.stderr)
