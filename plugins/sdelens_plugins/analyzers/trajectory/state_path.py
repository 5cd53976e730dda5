"""The states of a text and the laws of the states after them, in the plane."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.report import StatePath
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

ENTRIES = 2**24
"""Entries of covariances in all coordinates that are in memory at the same time."""


def state_path(
    fitted: Fitted, plane: PrincipalComponents, path: ObservedPath, words: tuple[str, ...]
) -> StatePath:
    """The law of the state after each state of the path.

    States that vary in one direction are drawn against time, which has no variance.
    """
    rows = torch.split(torch.arange(len(path.times)), max(1, ENTRIES // fitted.basis.latent**2))
    parts = [_next_states(fitted, plane, path.times[k], path.states[k]) for k in rows]
    mean, covariance = (torch.cat(part) for part in zip(*parts, strict=True))
    states, labels = plane.project(path.states), plane.labels
    if len(labels) == 1:
        t = path.times[:, None].to(states)
        states, mean = torch.cat([t, states], 1), torch.cat([t + fitted.dt, mean], 1)
        covariance = torch.nn.functional.pad(covariance, (1, 0, 1, 0))
        labels = ["token position", *labels]
    return StatePath(words, (labels[0], labels[1]), states.cpu(), mean.cpu(), covariance.cpu())


def _next_states(
    fitted: Fitted, plane: PrincipalComponents, t: Tensor, x: Tensor
) -> tuple[Float[Tensor, "time component"], Float[Tensor, "time component component"]]:
    """Mean and covariance of the states one step later, in the plane."""
    z = fitted.basis.encode(t, x)
    step = fitted.sde.transition(t.to(z), z)
    mean = fitted.basis.decode(t + fitted.dt, step.mean.to(x))
    factor = step.covariance().factor()
    factor = plane.direction(fitted.basis.decoder).to(factor).mT @ factor
    covariance = factor @ factor.mT
    return plane.project(mean), covariance.expand(len(x), *covariance.shape[-2:])
