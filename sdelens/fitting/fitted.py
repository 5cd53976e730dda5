"""A fitted law in the coordinates and the time unit of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.complement import Complement
from sdelens.evidence.evidence import Sample
from sdelens.evidence.statements import Verdict
from sdelens.evidence.verdict import verdict as score_sentences
from sdelens.laws.law import Law
from sdelens.laws.sde import SDE
from sdelens.origin import Origin
from sdelens.paths.basis import Basis
from sdelens.paths.from_arrays import GivenPaths, States, document_groups
from sdelens.paths.split import split_by_group
from sdelens.paths.standard_metric import standard_weights
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.protocols import Epoch
from sdelens.states.recording import View
from sdelens.wording import counted


@dataclass(frozen=True, eq=False)
class Step:
    """The law of the state one step later, in the data's coordinates."""

    mean: Float[Tensor, "*batch dim"]
    covariance: Float[Tensor, "*batch dim dim"]


@dataclass(frozen=True)
class Record:
    """Settings, training history and scores of a fit."""

    probe: str
    settings: Mapping[str, Any]
    density: str
    dt: float
    seed: int
    history: tuple[Epoch, ...] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Fitted:
    """A law fitted in latent coordinates, evaluated in the coordinates of the data.

    A time `t` is a number or a tensor that broadcasts against the batch of states. States may have
    any float dtype; results are in float64 for states in float64, and in float32 otherwise. If the
    basis omits directions, states are first projected onto its span.
    """

    law: Law
    basis: Basis
    record: Record
    origin: Origin | None = None
    complement: Complement | None = None
    """The law of the coordinates outside the basis, if any."""
    members: tuple[Law, ...] = ()
    """Laws of the same probe fitted to resampled documents, for standard errors."""
    view: View | None = None
    """The view of the fitted states, if their origin has several."""

    def __repr__(self) -> str:
        made = self.record
        size = counted(len(self.basis.encoder), "coordinate")
        where = f" at {self.view}" if self.view else ""
        parts = [f"{made.probe} fit ({made.density}) of {size}{where}"]
        if made.scores:
            parts.append(f"{made.scores['held_out_nll_per_dim']:.3f} nats per dimension held out")
        if "gain_over_iid_position" in made.scores:
            gain = made.scores["gain_over_iid_position"]
            parts.append(f"{gain:+.3f} over i.i.d. per position")
        return f"<{', '.join(parts)}>"

    @property
    def sde(self) -> SDE:
        """The SDE in latent coordinates, as torchsde takes it."""
        if not isinstance(self.law, SDE):
            raise UsageError(
                f"the probe {self.record.probe!r} gives a law of the next state that is not an "
                "SDE: fit with --probe neural or linear"
            )
        return self.law

    @property
    def dt(self) -> float:
        """The time between observations, in the data's unit."""
        return self.record.dt

    def transition(self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]) -> Step:
        """Mean and covariance of the state at t + dt, given x at t."""
        t, z = self._latent(t, x)
        step = self.sde.transition(t, z)
        return Step(
            mean=self.basis.decode(t + self.dt, step.mean.to(_precision(x))),
            covariance=self._widened(step.covariance().covariance(), x),
        )

    def drift(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        r""":math:`\mu(x, t)`, the coefficient of dt."""
        t, z = self._latent(t, x)
        kind = _precision(x)
        moving = (self.basis.mean_at(t + self.dt) - self.basis.mean_at(t)) / self.dt
        return self.sde.drift(t, z).to(kind) @ self.basis.decoder.to(kind) + moving.to(kind)

    def covariance(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        r""":math:`\sigma\sigma^\top(x, t)`, the coefficient of dt in the covariance."""
        scale = self.sde.diffusion(*self._latent(t, x))
        return self._widened(scale.covariance(), x)

    def drift_stderr(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim"]:
        """Standard error of `drift`: its standard deviation over the ensemble.

        With M members, a 90% interval is ± this times the 95% quantile of Student's t with M - 1
        degrees of freedom. Raises `UsageError` unless the ensemble has at least two members.
        """
        return torch.stack([one.drift(t, x) for one in self._replicates()]).std(0)

    def covariance_stderr(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        """Standard error of `covariance`, as in `drift_stderr`."""
        return torch.stack([one.covariance(t, x) for one in self._replicates()]).std(0)

    def _replicates(self) -> list["Fitted"]:
        """This fit with each member as its law."""
        if len(self.members) < 2:
            raise UsageError(
                "standard errors of coefficients need an ensemble of at least two: fit with "
                "--ensemble 5 (in Python: ensemble=5)"
            )
        return [replace(self, law=law, members=()) for law in self.members]

    def _latent(
        self, t: float | Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch latent"]]:
        """A time for each state, and the states in latent coordinates."""
        self._require_width(x)
        t = torch.as_tensor(t, dtype=x.dtype, device=x.device).expand(x.shape[:-1])
        z = self.basis.encode(t, x)
        return t.to(z.dtype), z

    def _require_width(self, x: Float[Tensor, "*batch dim"]) -> None:
        if x.shape[-1:] != self.basis.encoder.shape[:1]:
            raise UsageError(
                f"states must be [..., {len(self.basis.encoder)}] like the fitted ones, got "
                f"{list(x.shape)}"
            )

    def _widened(
        self, latent: Float[Tensor, "..."], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch dim dim"]:
        decoder = self.basis.decoder.to(_precision(x))
        return (decoder.mT @ latent.to(decoder) @ decoder).expand(*x.shape, x.shape[-1])

    def log_prob(self, states: States | Trajectories) -> Float[Tensor, "path step"]:
        """Log density of each observed next state, in nats, in the coordinates of the data.

        Coordinates outside the basis contribute by their conditional law. Masked transitions, and
        those to or from a state with NaN, are NaN.
        """
        block = (
            states if isinstance(states, Trajectories) else GivenPaths.of(states, self.dt).paths
        )
        nats = log_density(self.law, next(iter(self.basis.view(block))))
        if self.complement is not None:
            nats = nats + self.complement.log_density(self.basis, block)
        return (nats - self.basis.log_volume()).masked_fill(~block.steps, torch.nan)

    def verdict(self, states: States | Paths, *, seed: int = 0) -> Verdict:
        """What kind of process the paths support: the class, the evidence, and sentences.

        `states` are as for `sdelens.fit`: those that were fitted, which are split as they were
        then, or others of the same process. Sentences on the kind of process come first, then
        those on the scores.

        >>> import sdelens
        >>> noise = torch.randn(200, 30, 1, generator=torch.Generator().manual_seed(0))
        >>> fitted = sdelens.fit(noise, probe="linear")
        >>> fitted.verdict(noise).process_class
        'no better than baseline'
        """
        paths = states if isinstance(states, Paths) else GivenPaths.of(states, self.dt).paths
        self._require_width(next(iter(paths)).states)
        groups = document_groups(paths)
        sides = split_by_group(groups, seed=self.record.seed)
        group = torch.full((max(groups) + 1,), -1)
        group[list(groups)] = torch.tensor(list(groups.values()))
        sample = Sample(
            self.encoded(paths.select(sides.train)),
            self.encoded(paths.select(sides.validation)),
            self.encoded(paths.select(sides.test)),
            groups=group,
            weights=standard_weights(self.basis),
        )
        made = self.record
        found = Verdict.of(self.sde, made.scores, sample, seed=seed)
        scored = score_sentences(made.scores, made.probe, made.density, clock="Steps")
        return replace(found, sentences=(*found.sentences, *scored))

    def encoded(self, paths: Paths) -> Paths:
        """Paths in the latent coordinates of the law."""
        return self.basis.view(paths)


def _precision(x: Tensor) -> torch.dtype:
    """The float type of results for these states."""
    return torch.promote_types(x.dtype, torch.float32)


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
