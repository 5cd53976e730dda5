r"""How far a process turns within one step, and which densities are good for that.

The statistic is the 95% quantile over states of the spectral norm of :math:`J = \partial\mu/
\partial x`, times dt. Euler and Maruyama's coefficients are biased by about half of it.
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
"""States over which the error of a trace is taken."""
REACH = {"euler": 0.05, "kessler": 0.6, "ozaki": 1.0, "strang": 1.0}
"""Up to which value of the statistic a density's coefficients can be trusted.

On a double well (X - X^3, sigma 0.7) euler's covariance is 18% wrong at 0.3, kessler's 2 to 4%
there and 22% at 0.9, where ozaki's is 11% wrong.
"""


class StepTooLong(UserWarning):
    """The data are observed too rarely for the density that was asked for."""


@torch.no_grad()
def step_jacobian(sde: SDE, paths: Paths) -> float:
    """The statistic for a fitted SDE over the states from which transitions start."""
    norms = []
    for block in paths:
        flat = block.flat()

        def step(x: torch.Tensor, t: torch.Tensor = flat.t) -> torch.Tensor:
            return sde.drift(t, x) * sde.dt

        norms.append(spectral_norms(step, flat.x).cpu())
    return float(torch.cat(norms).quantile(0.95))


def resolution_notes(sde: SDE, paths: Paths) -> Iterator[str]:
    """How far the process turns within a step, and what estimated traces cost.

    Nothing of a kernel, whose coefficients are of one step by definition, nor of an exact law. A
    density that is used outside of its range warns as well.
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
    """The statistic and what it was measured for, in a sentence."""
    return (
        f"|J|dt is {turn:.2g} (95% of states lie below); coefficients of the {density} density "
        f"can be trusted up to {REACH[density]:g}"
    )


@torch.no_grad()
def trace_error(sde: CoefficientSDE, paths: Paths) -> float | None:
    """Nats per transition by which estimated traces move a density: the median standard error.

    None where traces are exact (`Precision.widest`). A kessler density holds half of a trace.
    """
    flat = next(block for block in paths if block.steps.any()).flat()
    t, x = flat.t[:SOME], flat.x[:SOME]
    law = sde.transition(t, x)
    if not (isinstance(law, Sheared) and isinstance(law.jacobian, ImplicitJacobian)):
        return None
    return float(law.jacobian.trace_error().median()) / 2


def density_for(turn: float, dim: int, *, additive: bool) -> Density:
    """The cheapest density whose reach the statistic lies within."""
    if turn <= REACH["euler"]:
        return "euler"
    finer: Density = "strang" if additive else "ozaki"
    return "kessler" if turn <= REACH["kessler"] or dim > WIDEST[finer] else finer


def is_finer(one: Density, other: Density) -> bool:
    """Whether one density reaches further than another."""
    return REACH[one] > REACH[other]


def warn_beyond(density: Density, turn: float, dim: int) -> None:
    """A warning where the statistic lies outside of the density's reach."""
    if turn <= REACH[density]:
        return
    better = [
        name for name, reach in REACH.items() if turn <= reach and dim <= WIDEST.get(name, dim)
    ]
    advice = f"use --density {better[0]}" if better else "observe it more often, or use discrete"
    warnings.warn(
        f"|J|dt is {turn:.2g} (95% of states lie below), and the coefficients of the {density} "
        f"density can be trusted up to {REACH[density]:g}: {advice}",
        StepTooLong,
        stacklevel=2,
    )
