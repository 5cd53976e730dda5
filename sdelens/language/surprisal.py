"""Surprisal of each step of a text under a fit, and the distance of states from training."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.scorecard import past, pieces
from sdelens.fitting.fitted import Fitted
from sdelens.language.transition_rows import (
    concatenate_columns,
    transition_documents,
    transition_times,
)
from sdelens.paths.standard_metric import per_dimension, standard_weights
from sdelens.paths.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class Surprisal:
    """Surprisal and standardised distances of every transition, in order."""

    document: Int[Tensor, " row"]
    position: Float[Tensor, " row"]
    """The time of the state that the step starts from."""
    nats: Float[Tensor, " row"]
    """Negative log density of the next state, per dimension, in the coordinates of the basis.

    It includes the coordinates outside the basis if the fit has a law for them."""
    state: Float[Tensor, " row"]
    """Squared standardised distance of the next state from the training mean, per dimension."""
    residual: Float[Tensor, " row"]
    """Squared standardised distance of the next state from the predicted mean, per dimension."""

    @classmethod
    @torch.no_grad()
    def of(cls, fitted: Fitted, paths: Iterable[Trajectories]) -> "Surprisal":
        """Compute in one pass over paths in the data's coordinates."""
        basis = fitted.basis
        weights = standard_weights(basis)
        dim = basis.latent + (basis.left if fitted.complement else 0)
        rows = []
        for block in pieces(paths):
            steps, (latent,) = block.steps, basis.view(block)
            following = latent.states[:, 1:]
            law = fitted.law.predict(past(latent))
            nats = -law.log_density(following).double()
            if fitted.complement:
                nats = nats - fitted.complement.log_density(basis, block).double()
            squares = (following.square(), (following - law.mean).square())
            each = (nats / dim, *(per_dimension(x, weights) for x in squares))
            where = transition_documents(block), transition_times(block)
            rows.append((*where, *(value[steps] for value in each)))
        return cls(*concatenate_columns(rows))

    def mean(self, values: Float[Tensor, " row"], documents: int) -> Float[Tensor, " document"]:
        """Mean over the transitions of each document; NaN for documents without one."""
        count = by_unit(torch.ones_like(values), self.document, documents)
        return by_unit(values, self.document, documents) / count
