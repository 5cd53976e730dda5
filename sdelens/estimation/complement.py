r"""Conditional Gaussian of the coordinates that a basis leaves out, given the latent ones.

With latent coordinates z and left-out ones c, :math:`p(x'|x) = p(z'|x)\,p(c'|z',x)`. The fitted
law is the first factor. The second is :math:`c' = A_1 z' + A_2 c + c_t + \varepsilon` with
constant diagonal noise, fitted by least squares on training documents. The product is the
likelihood of whole states. The second factor is the same for all laws, so it cancels in gains.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import (
    AdditiveMean,
    Terms,
    residual_variance,
)
from sdelens.estimation.selection import selected
from sdelens.laws.law import group_of, prefixed
from sdelens.laws.scale import DiagonalScale
from sdelens.paths.basis import Basis
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Paths, Trajectories


@dataclass(frozen=True, eq=False)
class Complement:
    """Law of the next left-out coordinates given the next latent ones and the state."""

    mean: AdditiveMean
    std: Float[Tensor, " left"]

    def log_density(self, basis: Basis, block: Trajectories) -> Float[Tensor, "path step"]:
        """Log density of each step of raw states in nats, in standardised left-out coordinates."""
        both = _paired(basis, block)
        times = both.times.expand(both.mask.shape)[:, :-1]
        past, following = both.states[:, :-1], both.states[:, 1:]
        seen = torch.cat([following[..., : basis.latent], past[..., basis.latent :]], -1)
        mean = self.mean(times, seen, both.tokens[:, :-1])
        left = (following - mean)[..., basis.latent :]
        return DiagonalScale(self.std).log_density(left)

    def tensors(self) -> dict[str, Tensor]:
        """All fitted tensors by name."""
        return prefixed(mean=self.mean.tensors()) | {"std": self.std}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor]) -> "Complement | None":
        """Restore from the result of `tensors`; None if it is empty."""
        if not tensors:
            return None
        return cls(AdditiveMean(**group_of(tensors, "mean")), tensors["std"])


def fit_complement(basis: Basis, train: Paths, validation: Paths) -> Complement | None:
    """Fit the complement of a basis in one pass; None if the basis leaves nothing out."""
    if basis.left == 0:
        return None
    times = times_of(train)
    moments, held = (_moments(basis, paths, times) for paths in (train, validation))
    terms, left = Terms(state=True, position=True), slice(basis.latent, None)
    mean = selected(moments, held, terms, asked=left)
    variance = residual_variance(mean, moments)[basis.latent :]
    return Complement(mean.to(torch.float32), variance.clamp(min=1e-12).sqrt().float())


def _paired(basis: Basis, block: Trajectories) -> Trajectories:
    """Concatenate latent and left-out coordinates."""
    (kept,) = basis.view(block)
    left = basis.encode_left(block.times.expand(block.mask.shape), block.states)
    return replace(kept, states=torch.cat([kept.states, left], -1))


def _moments(
    basis: Basis, paths: Iterable[Trajectories], times: Float[Tensor, " time"]
) -> Moments:
    """Moments for the regression of [z', c'] on [z', c], with the next latent coordinates z'."""
    moments = Moments(basis.latent + basis.left, times)
    for block in paths:
        flat = _paired(basis, block).flat()
        known = flat.following[:, : basis.latent]
        moments.add(replace(flat, x=torch.cat([known, flat.x[:, basis.latent :]], -1)))
    return moments
