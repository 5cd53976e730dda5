"""Fits to paths of which the last are held out."""

import torch

from sdelens.paths.trajectories import Trajectories


def divided(states, dt=1.0, one_in=10):
    """Training and validation paths: the last one in `one_in`."""
    block, count = Trajectories.from_states(states, dt), len(states)
    cut = count * (one_in - 1) // one_in
    return block.rows(torch.arange(cut)), block.rows(torch.arange(cut, count))


def fitted(probe, states, dt=1.0, one_in=10):
    """The law that a probe fits to them."""
    train, validation = divided(states, dt, one_in)
    return probe.fit(train, validation, seed=0, watch=lambda _: None).law
