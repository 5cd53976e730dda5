"""One fit to a reference system, held against the truth."""

from dataclasses import dataclass
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.ensemble import ensemble_tasks, fit_all
from sdelens.evidence.student import student
from sdelens.fitting.fitted import Fitted, Record
from sdelens.laws.sde import SDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Probe, ignore_epoch
from sdelens.seeds import derive
from sdelens.settings import described
from sdelens.testing.system import System

NOMINAL = 0.9
"""The share of intervals that are to hold the truth."""
PATHS = 100
MATRICES = 500
"""Covariances are compared at about so many states: a matrix for each of 100,000 fills memory."""


@dataclass(frozen=True)
class Coefficients:
    """Errors of drift and covariance, over held-out states."""

    drift: float
    r""":math:`E|\hat\mu - \mu|^2`."""
    drift_scale: float
    r""":math:`E|\mu|^2` about its mean."""
    covariance: float
    r""":math:`E\|\hat a - a\|_F^2`."""
    relative: float
    r""":math:`E(\|\hat a - a\|_F^2 / \|a\|_F^2)`."""
    intervals: tuple[bool, ...]
    """Whether each 90% interval at one held-out state held the truth."""


@dataclass(frozen=True)
class Recovery:
    """What one fit got right."""

    excess: float | None
    """Held-out nats per transition beyond the true law; None where that is not known."""
    predicted: float
    """The share of 90% predictive intervals that hold the coordinate of the next state."""
    coefficients: Coefficients | None
    """None where there are none, or the probe gives no SDE."""


def recover(
    probe: Probe, system: System, *, transitions: int, seed: int, ensemble: int = 0
) -> Recovery:
    """Fit `transitions` of a system in 100 paths, and score as many that were not seen.

    An eighth as many more are for validation, as where paths are split in 80, 10 and 10%. With an
    `ensemble` of so many members, coefficients get intervals.
    """
    fitted = _fitted(probe, system, transitions, seed, ensemble)
    test = _paths(system, transitions, derive(seed, "test"))
    x, following = (part.reshape(-1, system.dim) for part in (test[:, :-1], test[:, 1:]))
    truth, excess = system.log_density(x, following), None
    if truth is not None:
        excess = float(truth.mean()) - float(fitted.log_prob(test).double().mean())
    t = torch.arange(test.shape[1] - 1).expand(len(test), -1).reshape(-1) * system.dt
    return Recovery(excess, _inside(fitted, test), _coefficients(fitted, system, t, x))


def _coefficients(
    fitted: Fitted, system: System, t: Float[Tensor, " state"], x: Float[Tensor, "state dim"]
) -> Coefficients | None:
    some = slice(None, None, max(1, len(x) // MATRICES))
    drift, unit = system.drift(x), system.covariance(x[some])
    if drift is None or unit is None or not isinstance(fitted.law, SDE):
        return None
    wrong = (fitted.drift(t, x) - drift).double()
    squares = (fitted.covariance(t[some], x[some]) - unit).double().square().sum((-2, -1))
    centred = drift.double() - drift.double().mean(0)
    return Coefficients(
        drift=float(wrong.square().sum(-1).mean()),
        drift_scale=float(centred.square().sum(-1).mean()),
        covariance=float(squares.mean()),
        relative=float((squares / unit.double().square().sum((-2, -1))).mean()),
        intervals=_held(fitted, t[0], x[0], drift[0], unit[0]) if fitted.members else (),
    )


def _paths(system: System, transitions: int, seed: int) -> Float[Tensor, "path time dim"]:
    return system.simulate(PATHS, max(1, round(transitions / PATHS)) + 1, seed)


def _fitted(probe: Probe, system: System, transitions: int, seed: int, ensemble: int) -> Fitted:
    """The probe's fit in the coordinates of the system, as `sdelens.fit` makes it."""
    sides = {"train": transitions, "validation": transitions // 8}
    train, validation = (
        Trajectories.from_states(_paths(system, count, derive(seed, side)), system.dt)
        for side, count in sides.items()
    )
    basis = fit_basis(BasisSpec(), train)
    seen, held = basis.view(train), basis.view(validation)
    found = probe.fit(seen, held, seed=derive(seed, "probe"), watch=ignore_epoch)
    members = fit_all(probe, ensemble_tasks(seen, held, None, members=ensemble, seed=seed))
    record = Record(type(probe).__name__, described(probe), probe.density, system.dt, seed)
    laws = tuple(member.law for member in members)
    return Fitted(found.law, basis, record, members=laws)


def _inside(fitted: Fitted, test: Float[Tensor, "path time dim"]) -> float:
    """The share of coordinates inside their predictive intervals."""
    block = next(iter(fitted.encoded(Trajectories.from_states(test, fitted.dt))))
    predictive = fitted.law.predict(block)
    reach = NormalDist().inv_cdf((1 + NOMINAL) / 2) * predictive.covariance().variance().sqrt()
    # the standard basis scales each coordinate by itself: inside there is inside here
    after, expected = block.states[:, 1:], predictive.mean[:, :-1]
    inside = (after - expected).abs() <= reach.expand_as(block.states)[:, :-1]
    return float(inside.double().mean())


def _held(fitted: Fitted, t: Tensor, x: Tensor, drift: Tensor, unit: Tensor) -> tuple[bool, ...]:
    """Whether drift and covariance at a state lie within their intervals."""
    reach = student((1 + NOMINAL) / 2, len(fitted.members))
    near = (fitted.drift(t, x) - drift).abs() <= reach * fitted.drift_stderr(t, x)
    wide = (fitted.covariance(t, x) - unit).abs() <= reach * fitted.covariance_stderr(t, x)
    rows, columns = torch.tril_indices(len(x), len(x))
    return (*near.tolist(), *wide[rows, columns].tolist())
