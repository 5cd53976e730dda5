"""One fit to a reference system, compared with the truth."""

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
"""Nominal coverage of the intervals."""
PATHS = 100
MATRICES = 500
"""Approximate number of states at which covariances are compared, to limit memory."""


@dataclass(frozen=True)
class CoefficientErrors:
    """Errors of drift and covariance, over held-out states."""

    drift: float
    r""":math:`E|\hat\mu - \mu|^2`."""
    drift_scale: float
    r"""Variance of :math:`\mu`, summed over coordinates."""
    covariance: float
    r""":math:`E\|\hat a - a\|_F^2`."""
    relative: float
    r""":math:`E(\|\hat a - a\|_F^2 / \|a\|_F^2)`."""
    intervals: tuple[bool, ...]
    """Whether each 90% interval at one held-out state contains the truth."""


@dataclass(frozen=True)
class Recovery:
    """Accuracy of one fit."""

    excess: float | None
    """Held-out excess loss over the true law in nats per transition; None if unknown."""
    predicted: float
    """Coverage of 90% predictive intervals for coordinates of the next state."""
    coefficients: CoefficientErrors | None
    """None if the system has no coefficients or the probe no SDE."""


def recover(
    probe: Probe, system: System, *, transitions: int, seed: int, ensemble: int = 0
) -> Recovery:
    """Fit `transitions` of a system in 100 paths, and score the fit on as many new ones.

    An eighth as many are used for validation, as in an 80/10/10 split. With an `ensemble`,
    coefficients get intervals.
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
) -> CoefficientErrors | None:
    some = slice(None, None, max(1, len(x) // MATRICES))
    drift, unit = system.drift(x), system.covariance(x[some])
    if drift is None or unit is None or not isinstance(fitted.law, SDE):
        return None
    wrong = (fitted.drift(t, x) - drift).double()
    squares = (fitted.covariance(t[some], x[some]) - unit).double().square().sum((-2, -1))
    centred = drift.double() - drift.double().mean(0)
    return CoefficientErrors(
        drift=float(wrong.square().sum(-1).mean()),
        drift_scale=float(centred.square().sum(-1).mean()),
        covariance=float(squares.mean()),
        relative=float((squares / unit.double().square().sum((-2, -1))).mean()),
        intervals=_held(fitted, t[0], x[0], drift[0], unit[0]) if fitted.members else (),
    )


def _paths(system: System, transitions: int, seed: int) -> Float[Tensor, "path time dim"]:
    return system.simulate(PATHS, max(1, round(transitions / PATHS)) + 1, seed)


def _fitted(probe: Probe, system: System, transitions: int, seed: int, ensemble: int) -> Fitted:
    """The fit of the probe in the coordinates of the system, as in `sdelens.fit`."""
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
    """Share of coordinates inside their predictive intervals."""
    block = next(iter(fitted.encoded(Trajectories.from_states(test, fitted.dt))))
    predictive = fitted.law.predict(block)
    reach = NormalDist().inv_cdf((1 + NOMINAL) / 2) * predictive.covariance().variance().sqrt()
    # the standard basis scales coordinates separately, which preserves interval membership
    after, expected = block.states[:, 1:], predictive.mean[:, :-1]
    inside = (after - expected).abs() <= reach.expand_as(block.states)[:, :-1]
    return float(inside.double().mean())


def _held(fitted: Fitted, t: Tensor, x: Tensor, drift: Tensor, unit: Tensor) -> tuple[bool, ...]:
    """Whether the intervals contain drift and covariance at a state."""
    reach = student((1 + NOMINAL) / 2, len(fitted.members))
    near = (fitted.drift(t, x) - drift).abs() <= reach * fitted.drift_stderr(t, x)
    wide = (fitted.covariance(t, x) - unit).abs() <= reach * fitted.covariance_stderr(t, x)
    rows, columns = torch.tril_indices(len(x), len(x))
    return (*near.tolist(), *wide[rows, columns].tolist())
