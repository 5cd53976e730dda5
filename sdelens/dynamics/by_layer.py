"""Measures of one layer for comparison across layers."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean, Terms, least_squares
from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.evidence import gain_over_best
from sdelens.evidence.interval import Interval
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Viewed
from sdelens.laws.law import Law
from sdelens.laws.sde import SDE, KernelSDE
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Paths

PARTS = 8
"""Parts of the training documents for the jackknife."""


@dataclass(frozen=True, eq=False)
class LayerStory:
    """Measures of one layer with 95% intervals."""

    gain: Interval
    """Gain over the best baseline in nats per dimension, as recorded with the fit."""
    rival: str
    r2: Interval
    """Share of the squared increments explained by the fit's mean."""
    noise: Interval
    """Root mean square of the fitted noise of one step over test states, in standardised
    coordinates."""
    residual: Interval
    """Root mean square of the held-out residuals, which the noise should equal."""
    radius: Interval
    """Spectral radius of the mean map's Jacobian at the mean training state."""

    @classmethod
    def of(cls, viewed: Viewed, groups: Int[Tensor, " document"]) -> "LayerStory":
        """Compute in one pass over test documents, and a few over training ones for the radius."""
        fitted = viewed.fitted
        scores = fitted.record.scores
        best = gain_over_best(scores)
        held = int(scores["held_out_documents"])
        noise, residual = _noise(viewed, groups)
        return cls(
            gain=around(best.value, best.stderr, best.groups).over(held),
            rival=best.name.removeprefix("gain over "),
            r2=around(scores["increment_r2"], scores["increment_r2_stderr"], held).over(held),
            noise=noise,
            residual=residual,
            radius=spectral_radius(fitted, fitted.encoded(viewed.train), groups),
        )


def around(value: float, stderr: float, groups: int) -> Interval:
    """Student's t interval; NaN bounds with fewer than two groups."""
    spread = stderr if groups > 1 else math.nan
    numbers = torch.tensor([value, spread], dtype=torch.float64)
    return Interval.student(numbers[0], numbers[1], groups)


@torch.no_grad()
def _noise(viewed: Viewed, groups: Int[Tensor, " document"]) -> tuple[Interval, Interval]:
    """Root mean squares per coordinate of the law's noise and of the residuals."""
    law, units = viewed.fitted.law, int(groups.max()) + 1
    sums = torch.zeros(3, units, dtype=torch.float64)
    for block in viewed.fitted.encoded(viewed.test):
        predicted, steps = law.predict(block), block.steps
        if not steps.any():
            continue
        error = (block.states[:, 1:] - predicted.mean[:, :-1]).square().mean(-1)
        variance = predicted.covariance().variance().mean(-1)
        variance = variance.expand(block.mask.shape)[:, :-1]
        unit = groups[block.document.cpu()][:, None].expand(steps.shape)[steps.cpu()]
        rows = torch.stack([variance, error, torch.ones_like(error)])[:, steps]
        sums += by_unit(rows, unit, units)
    found = Interval.ratio(sums[:2], sums[2])
    return found[0].sqrt(), found[1].sqrt()


def spectral_radius(fitted: Fitted, train: Paths, groups: Int[Tensor, " document"]) -> Interval:
    """Spectral radius of the mean map, with an error from the ensemble or, if linear, a jackknife.

    It is evaluated at the middle of the fitted times. Below one, small deviations decay.
    """
    times = times_of(train)
    moments = Moments.of(train, times)
    centre = (moments.position_x.sum(0) / moments.count).to(fitted.basis.encoder.dtype)
    t = times[len(times) // 2].to(centre)
    value = _radius(fitted.law, t, centre)
    if len(fitted.members) > 1:
        each = torch.tensor([_radius(law, t, centre) for law in fitted.members])
        return around(value, float(each.std()), len(each))
    if not (isinstance(fitted.law, KernelSDE) and isinstance(fitted.law.mean, AdditiveMean)):
        return around(value, math.nan, 0)
    return around(value, *_jackknife(train, times, groups))


def _jackknife(
    train: Paths, times: Float[Tensor, " time"], groups: Int[Tensor, " document"]
) -> tuple[float, int]:
    """Jackknife standard error of the radius of a least-squares fit, and the number of parts."""
    numbers = torch.unique(torch.cat([block.document.cpu() for block in train]))
    part = groups[numbers] % PARTS
    used = torch.unique(part).tolist()
    if len(used) < 2:
        return math.nan, 0
    found = []
    for left_out in used:
        rest = train.select(numbers[part != left_out].tolist())
        mean = least_squares(Moments.of(rest, times), Terms(state=True, position=True))
        found.append(float(torch.linalg.eigvals(mean.matrix).abs().max()))
    each = torch.tensor(found, dtype=torch.float64)
    spread = (each - each.mean()).square().sum() * (len(each) - 1) / len(each)
    return math.sqrt(float(spread)), len(each)


def _radius(law: Law, t: Float[Tensor, ""], centre: Float[Tensor, " dim"]) -> float:
    """Spectral radius of the Jacobian of the mean of one step."""
    if isinstance(law, KernelSDE) and isinstance(law.mean, AdditiveMean):
        return float(torch.linalg.eigvals(law.mean.matrix.double()).abs().max())
    if not isinstance(law, SDE):
        return math.nan

    def step(x: Tensor) -> Tensor:
        return law.transition(t[None], x[None]).mean[0]

    with torch.enable_grad():
        slope = torch.autograd.functional.jacobian(step, centre)  # type: ignore[no-untyped-call]
    return float(torch.linalg.eigvals(slope.double()).abs().max())
