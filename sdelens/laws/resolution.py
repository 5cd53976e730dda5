r"""Time resolution of the data: whether dt is small enough for a transition density.

The statistic is the 95% quantile over states of the spectral norm of :math:`J = \partial\mu/
\partial x`, times dt. Euler-Maruyama coefficients are biased by about half of it.
"""

import warnings
from collections.abc import Iterator

import torch

from sdelens.laws.coefficient_sde import CoefficientSDE
from sdelens.laws.densities import WIDEST, Sheared
from sdelens.laws.jets import ImplicitJacobian, spectral_norms
from sdelens.laws.sde import SDE, Density
from sdelens.paths.trajectories import Paths

SOME = 256
"""Number of states used for the error of estimated traces."""
REACH = {"euler": 0.05, "kessler": 0.6, "ozaki": 1.0, "strang": 1.0}
"""Largest value of the statistic at which the coefficients of a density are reliable.

On a double well (X - X^3, sigma 0.7) the error of the covariance is 18% with euler and 2 to 4%
with kessler at 0.3, and 22% with kessler and 11% with ozaki at 0.9.
"""


class StepTooLong(UserWarning):
    """Warns that dt is too large for the selected density."""


@torch.no_grad()
def step_jacobian(sde: SDE, paths: Paths) -> float:
    """The statistic of a fitted SDE over all states at which a transition starts."""
    norms = []
    for block in paths:
        flat = block.flat()

        def step(x: torch.Tensor, t: torch.Tensor = flat.t) -> torch.Tensor:
            return sde.drift(t, x) * sde.dt

        norms.append(spectral_norms(step, flat.x).cpu())
    return float(torch.cat(norms).quantile(0.95))


def resolution_notes(sde: SDE, paths: Paths) -> Iterator[str]:
    """Notes on the time resolution and on the error of estimated traces.

    There are no notes for a kernel, whose coefficients refer to one step by definition, or for an
    exact law. Warns with `StepTooLong` if the density is used outside its range.
    """
    if sde.density not in REACH:
        return
    turn = step_jacobian(sde, paths)
    warn_beyond(sde.density, turn, next(iter(paths)).states.shape[-1])
    yield described(sde.density, turn)
    error = trace_error(sde, paths) if isinstance(sde, CoefficientSDE) else None
    if error is not None:
        yield f"traces of J are estimated: ±{error:.2g} nats per transition"


def described(density: Density, turn: float) -> str:
    """A note with the statistic and the range of the density."""
    return (
        f"|J|dt is {turn:.2g} (95% quantile over states); the coefficients of the {density} "
        f"density are reliable up to {REACH[density]:g}"
    )


@torch.no_grad()
def trace_error(sde: CoefficientSDE, paths: Paths) -> float | None:
    """Median standard error of the log density due to estimated traces, in nats per transition.

    None if traces are exact (`Precision.widest`). A kessler log density contains half of a trace.
    """
    flat = next(block for block in paths if block.steps.any()).flat()
    t, x = flat.t[:SOME], flat.x[:SOME]
    law = sde.transition(t, x)
    if not (isinstance(law, Sheared) and isinstance(law.jacobian, ImplicitJacobian)):
        return None
    return float(law.jacobian.trace_error().median()) / 2


def density_for(turn: float, dim: int, *, additive: bool) -> Density:
    """The cheapest density that is reliable at this value of the statistic."""
    if turn <= REACH["euler"]:
        return "euler"
    finer: Density = "strang" if additive else "ozaki"
    return "kessler" if turn <= REACH["kessler"] or dim > WIDEST[finer] else finer


def is_finer(one: Density, other: Density) -> bool:
    """Whether one density is reliable at larger steps than another."""
    return REACH[one] > REACH[other]


def warn_beyond(density: Density, turn: float, dim: int) -> None:
    """Warn with `StepTooLong` if the density is not reliable at this value of the statistic."""
    if turn <= REACH[density]:
        return
    better = [
        name for name, reach in REACH.items() if turn <= reach and dim <= WIDEST.get(name, dim)
    ]
    advice = f"use --density {better[0]}" if better else "observe it more often, or use discrete"
    warnings.warn(
        f"|J|dt is {turn:.2g} (95% quantile over states), but the coefficients of the {density} "
        f"density are reliable only up to {REACH[density]:g}: {advice}",
        StepTooLong,
        stacklevel=2,
    )
