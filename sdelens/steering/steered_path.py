"""Steered states of texts, and the next state that a fit predicts."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.law import Law
from sdelens.laws.sde import SDE
from sdelens.paths.basis import Basis
from sdelens.paths.trajectories import Trajectories


@dataclass(frozen=True, eq=False)
class SteeredPath:
    """Texts of equal length with their states in latent coordinates, up to position `at`.

    For an SDE, which is Markov, only the last state is kept. Displacements are differences of
    states in the data's coordinates, within the span of the basis.
    """

    law: Law
    basis: Basis
    at: int
    states: Float[Tensor, "row time latent"]
    tokens: Int[Tensor, "row time"]

    @classmethod
    def of(
        cls, law: Law, basis: Basis, states: Float[Tensor, "row time dim"], tokens: Tensor, at: int
    ) -> "SteeredPath":
        """A path from states that end at position `at`, with their tokens."""
        seen = 1 if isinstance(law, SDE) else states.shape[1]
        times = torch.arange(at + 1 - seen, at + 1).to(states)
        latent = basis.encode(times.expand(len(states), -1), states[:, -seen:])
        return cls(law, basis, at, latent, tokens[:, -seen:])

    def then(self, x: Float[Tensor, "row dim"], token: Int[Tensor, " row"]) -> "SteeredPath":
        """The path with one more state."""
        z, seen = self._encoded(x), 0 if isinstance(self.law, SDE) else self.states.shape[1]
        states = torch.cat([self.states[:, :seen], z[:, None]], dim=1)
        tokens = torch.cat([self.tokens[:, :seen], token[:, None]], dim=1)
        return replace(self, at=self.at + 1, states=states, tokens=tokens)

    def _encoded(self, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row latent"]:
        """The next state, in latent coordinates."""
        return self.basis.encode(x.new_full((len(x),), self.at + 1), x)

    @property
    def expected(self) -> Float[Tensor, "row latent"]:
        """m, the predicted mean of the next state."""
        rows, seen = self.tokens.shape
        times = torch.arange(self.at + 1 - seen, self.at + 1).to(self.states)
        mask = torch.ones(rows, seen, dtype=torch.bool)
        past = Trajectories(self.states, mask, times[None], self.tokens, torch.arange(rows))
        return self.law.predict(past).mean[:, -1]

    @property
    def drift(self) -> Float[Tensor, "row dim"]:
        """m(X) - X over one step."""
        now, then = (self.basis.mean_at(self.states.new_tensor(self.at + k)) for k in (0, 1))
        step = self.expected - self.states[:, -1]
        return step @ self.basis.decoder + (then - now).to(step)

    def noise(self, x: Float[Tensor, "row dim"]) -> Float[Tensor, "row dim"]:
        """X - m of the next state X."""
        return (self._encoded(x) - self.expected) @ self.basis.decoder

    def without(self, drift: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        """The a for which the last state plus a times the drift is orthogonal to the drift.

        It is zero where the drift is zero.
        """
        state = self.states[:, -1] @ self.basis.decoder / self.basis.spread
        along = drift / self.basis.spread
        square = along.square().sum(-1)
        return torch.where(square > 0, -(state * along).sum(-1) / square, 0.0)


def length(basis: Basis, displacement: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Euclidean length in training-standardised coordinates."""
    found: Tensor = (displacement / basis.spread).norm(dim=-1)
    return found


def rescaled(
    basis: Basis, own: Float[Tensor, "row dim"], other: Float[Tensor, "row dim"]
) -> Float[Tensor, "row dim"]:
    """Project `other` onto the span of the basis and scale it to the length of `own`."""
    kept = other.to(basis.encoder) @ basis.encoder @ basis.decoder
    size = length(basis, kept).clamp(min=torch.finfo(kept.dtype).tiny)
    unit: Tensor = kept / size[:, None]
    return unit * length(basis, own)[:, None]
