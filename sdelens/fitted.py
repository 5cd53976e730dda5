"""A fitted law with its basis: in the coordinates and the time unit of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.basis import Basis
from sdelens.errors import UsageError
from sdelens.law import Law
from sdelens.origin import Origin
from sdelens.protocols import Epoch
from sdelens.sde import SDE
from sdelens.trajectories import Paths, Trajectories


@dataclass(frozen=True, eq=False)
class Step:
    """The law of the state one step later, in the data's coordinates."""

    mean: Float[Tensor, "*batch dim"]
    covariance: Float[Tensor, "*batch dim dim"]


@dataclass(frozen=True)
class Record:
    """How a fit came about, and what it is worth."""

    probe: str
    settings: Mapping[str, Any]
    density: str
    dt: float
    seed: int
    history: tuple[Epoch, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A law fitted in latent coordinates, read in the data's.

    A time `t` may be a number or a tensor that broadcasts against the states' batch. States may be
    of any float type; what comes back is of the basis's. Where the basis leaves directions out, a
    state is first projected onto those that it keeps.
    """

    law: Law
    basis: Basis
    record: Record
    origin: Origin | None = None

    @property
    def sde(self) -> SDE:
        """The SDE in latent coordinates, as torchsde takes it."""
        if not isinstance(self.law, SDE):
            raise UsageError(
                f"the probe {self.record.probe!r} gives a law that depends on tokens, not an SDE: "
                "fit with --probe neural or linear"
            )
        return self.law

    @property
    def dt(self) -> float:
        """The step between observations, in the data's unit of time."""
        return self.record.dt

    def transition(self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]) -> Step:
        """Mean and covariance of the state at t + dt, given x at t."""
        t, z = self._latent(t, x)
        step = self.sde.transition(t, z)
        return Step(
            mean=self.basis.decode(t + self.dt, step.mean),
            covariance=self._widened(step.scale.covariance(), x),
        )

    def drift(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        r""":math:`\mu(x, t)`, the coefficient of dt."""
        t, z = self._latent(t, x)
        moving = (self.basis.mean_at(t + self.dt) - self.basis.mean_at(t)) / self.dt
        return self.sde.drift(t, z) @ self.basis.decoder + moving

    def covariance(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        r""":math:`\sigma\sigma^\top(x, t)`, the coefficient of dt in the covariance."""
        scale = self.sde.diffusion(*self._latent(t, x))
        return self._widened(scale.covariance(), x)

    def _latent(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch latent"]]:
        """A time for each state, and the states in latent coordinates."""
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(x.shape[:-1])
        z = self.basis.encode(t, x)
        return t.to(z.dtype), z

    def _widened(
        self, latent: Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        wide = self.basis.decoder.mT @ latent @ self.basis.decoder
        return wide.expand(*x.shape, x.shape[-1])

    def log_prob(
        self, states: Float[Tensor, "path time dim"] | Trajectories
    ) -> Float[Tensor, "path step"]:
        """Log density of each observed next state, in nats, in the data's coordinates.

        Where the basis leaves directions out, it is the density within the kept ones. Transitions
        that a mask leaves out are NaN.
        """
        block = states
        if not isinstance(block, Trajectories):
            block = Trajectories.from_states(block, self.dt)
        nats = log_density(self.law, next(iter(self.basis.view(block)))) - self.basis.log_volume()
        return nats.masked_fill(~block.steps, torch.nan)

    def encoded(self, paths: Paths) -> Paths:
        """Paths in the latent coordinates of the law."""
        return self.basis.view(paths)


def log_density(law: Law, block: Trajectories) -> Float[Tensor, "path step"]:
    """Log density of each next state of a latent block, in nats."""
    past = Trajectories(
        block.states[:, :-1],
        block.mask[:, :-1],
        block.times[:, :-1],
        block.tokens[:, :-1],
        block.document,
    )
    return law.predict(past).log_density(block.states[:, 1:])
