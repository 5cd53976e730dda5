"""Correlated states of different units, for tests of bases."""

import torch

from sdelens.paths.trajectories import Trajectories

DIM = 5
KINDS = ("raw", "standard", f"pca:{DIM}", f"whiten:{DIM}")
CENTERS = ("all", "position")


def paths(seed=0, count=40, length=6, dim=DIM, ragged=True):
    """Correlated states of different units around a mean that depends on the position."""
    random = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=random)
    units = torch.logspace(-2, 2, dim)
    by_position = 3 * torch.randn(length, dim, generator=random)
    noise = torch.randn(count, length, dim, generator=random) @ mixing
    block = Trajectories.from_states((noise + by_position) * units, dt=0.5)
    if ragged:
        ends = torch.randint(2, length + 1, (count, 1), generator=random)
        ends[0] = length
        block.mask.copy_(torch.arange(length) < ends)
    return block


def encoded(basis, block):
    [latent] = basis.view(block)
    return latent.states[latent.mask].double()
