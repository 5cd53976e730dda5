"""Paths with tokens, and sums over their transitions."""

import torch

from sdelens.estimation.additive import (
    Moments,
    times_of,
)
from sdelens.paths.trajectories import Trajectories

DIM, LENGTH, VOCABULARY = 3, 6, 5


def paths(seed=0, count=12, tokens=(0, VOCABULARY), first_document=0):
    """Ragged paths of correlated states with a moving mean, and tokens of a small vocabulary."""
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, LENGTH, DIM, generator=random)
    mixing = torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 0.3], [0.0, 0.0, 2.0]])
    ends = torch.randint(2, LENGTH + 1, (count, 1), generator=random)
    ends[0] = LENGTH
    return Trajectories(
        states=noise.cumsum(1) @ mixing + torch.arange(LENGTH)[:, None] + 5,
        mask=torch.arange(LENGTH) < ends,
        times=torch.arange(LENGTH)[None] * 2.0,
        # 7 v + 1000: ids are not row numbers
        tokens=torch.randint(*tokens, (count, LENGTH), generator=random) * 7 + 1000,
        document=torch.arange(first_document, first_document + count),
    )


def one_hot(values, categories):
    return (values[:, None] == categories).double()


def moments_of(block):
    return Moments.of(block, times_of(block))


def in_parts(block, order):
    parts = [block.select([i]) for i in range(len(block.document))]
    return [parts[i] for i in order]
