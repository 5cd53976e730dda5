"""Mean, variance and higher moments over time: data, fit, recursion (the paper's 3.3 and A.3)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.affine import Affine
from sdelens.dynamics.moments import (
    ORDERS,
    Projection,
    central,
    closure_moments,
    linear_moments,
    simulated,
)
from sdelens.errors import BadNumbers, UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, counted
from sdelens_plugins.analyzers.components import Components
from sdelens_plugins.analyzers.observed import Observed, openings

BATCHES = 10
"""Of the simulated replicates, for the error of what Monte Carlo says of a closed form."""
READING = (
    "A replicate starts from the same states as the test documents and is as long: were the fit "
    "true, the documents would be one replicate more, and their moments would lie inside the "
    "bands nine times in ten. The mean square of their distance from the replicates' mean, in "
    "deviations of the replicates, is 1 on average then, and its spread among replicates stands "
    "beside it; few documents leave wide bands, most of all for the third and fourth moment, so "
    "that moments which do not differ need not be the same. All documents start at the same "
    "time, from where nine of ten have begun. Moments to order four of a few components do not "
    "determine a law, and tell nothing of how one time depends on another. Closed recursions are "
    "exact for a linear law; the Gaussian closure is an approximation, and its distance from "
    "Monte Carlo says how good."
)


@dataclass(frozen=True)
class MomentsAnalyzer:
    """Moments to order 4 of the first `components` over `steps` steps of the test documents.

    At most `documents` of them, and `replicates` simulated ones of each.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    scope: ClassVar[str] = "view"

    components: int = 3
    steps: int = 40
    documents: int = 256
    replicates: int = 200

    def __post_init__(self) -> None:
        if self.replicates < 2 * BATCHES or self.steps < 1 or self.components < 1:
            raise UsageError(
                f"moments need {2 * BATCHES} replicates or more, and one step and component, got "
                f"replicates={self.replicates}, steps={self.steps}, components={self.components}"
            )

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted, axes = viewed.fitted, Components.of(viewed.train, self.components)
        every = openings(viewed.test, documents=self.documents, states=sys.maxsize)
        paths = together(every, self.steps)
        times, states = paths[0].times, torch.stack([path.states for path in paths])
        starts = fitted.basis.encode(times[:1].expand(len(paths)), states[:, 0])
        seen = projection(fitted, axes, times)
        drawn = simulated(fitted.sde, starts, times, seen, draws=self.replicates, seed=seed)
        require_finite(drawn)
        affine = Affine.of(fitted.sde)
        name = "Gaussian closure" if affine is None else "closed recursion"
        closed = (
            closure_moments(fitted.sde, starts, times, seen)
            if affine is None
            else linear_moments(affine, starts, times, seen)
        )
        data = central(axes.project(states).double().transpose(0, 1))
        found = Compared(axes, times.double(), data, drawn, closed, name, len(paths))
        return Finding(
            analyzer="moments",
            view=str(view),
            headline=found.headline(),
            reading=READING,
            estimates=found.estimates(),
            arrays=found.arrays(),
            figures=found.figures(),
        )


def require_finite(drawn: Float[Tensor, "time replicate document component"]) -> None:
    """An error where the law cannot be simulated from some state."""
    lost = (~drawn.isfinite()).flatten(2).any(-1).any(0)
    if lost.any():
        raise BadNumbers(
            f"{int(lost.sum())} of {len(lost)} simulated replicates are not finite: the fit "
            "diverges, or its density has no covariance at some state; fit with --density "
            "discrete (or euler), or ask for fewer steps (--set moments.steps=5)"
        )


def together(paths: Sequence[Observed], steps: int) -> list[Observed]:
    """The paths from a time at which nine of ten have begun, cut to a length that half have."""
    if not paths:
        raise UsageError(
            "moments need a held-out document with a transition, but there is none: fit to more "
            "or longer texts"
        )
    begun = sorted(float(path.times[0]) for path in paths)
    start = begun[int(0.9 * (len(begun) - 1))]
    group = [since(path, start) for path in paths if float(path.times[0]) <= start]
    group = [path for path in group if path.steps > 0]
    length = min(steps + 1, sorted(len(path.times) for path in group)[len(group) // 2])
    return [path.first(length) for path in group if len(path.times) >= length]


def since(path: Observed, start: float) -> Observed:
    """Its states from a time on."""
    keep = path.times >= start
    return Observed(path.name, path.states[keep], path.times[keep], path.tokens[keep])


def projection(fitted: Fitted, axes: Components, times: Float[Tensor, " time"]) -> Projection:
    """The components as functions of the law's coordinates."""
    direction = axes.direction(fitted.basis.decoder)
    offset = axes.project(fitted.basis.mean_at(times))
    return Projection(direction.double(), offset.double())


@dataclass(frozen=True, eq=False)
class Compared:
    """Moments of the data, of replicates, and of a closed form."""

    axes: Components
    times: Float[Tensor, " time"]
    data: Float[Tensor, "time component 4"]
    drawn: Float[Tensor, "time replicate document component"]
    closed: Float[Tensor, "time component 4"]
    name: str
    documents: int

    @property
    def orders(self) -> int:
        """How many moments so few documents have: order k needs k of them."""
        return min(4, self.documents)

    @property
    def replicates(self) -> Float[Tensor, "replicate time component 4"]:
        """The moments of each replicate over its documents."""
        return central(self.drawn).transpose(0, 1)

    @property
    def pooled(
        self,
    ) -> tuple[Float[Tensor, "time component 4"], Float[Tensor, "time component 4"]]:
        """Moments of all replicates together, with errors by batches of them."""
        parts = torch.stack([central(p.flatten(1, 2)) for p in self.drawn.chunk(BATCHES, dim=1)])
        return central(self.drawn.flatten(1, 2)), parts.std(0) / len(parts) ** 0.5

    def scores(self) -> tuple[Float[Tensor, " 4"], Float[Tensor, "replicate 4"]]:
        """The mean squared distance from the replicates' mean, of the data and of each replicate.

        The first time is left out: all start from the same states.
        """
        rows = self.replicates[:, 1:]
        centre, spread = rows.mean(0), rows.std(0).clamp(min=1e-300)
        own = ((self.data[1:] - centre) / spread).square().mean((0, 1))
        # a replicate is part of the mean and deviation that it is compared with: at most 1% off
        return own, ((rows - centre) / spread).square().mean((1, 2))

    def headline(self) -> str:
        """Which moments of the data are those of the fit."""
        own, null = self.scores()
        limit = null.quantile(0.95, dim=0)
        off = [ORDERS[k] for k in range(self.orders) if own[k] > limit[k]]
        which = f"not those of the fit: {', '.join(off)}" if off else "all compatible with the fit"
        worst = [f"{ORDERS[k]} {float(own[k]):.1f}" for k in range(self.orders)]
        return (
            f"Over {counted(len(self.times) - 1, 'step')} of "
            f"{counted(self.documents, 'test document')} the moments of "
            f"{counted(len(self.axes.chosen), 'component')} are {which} (mean squared deviation, "
            f"1 expected: {', '.join(worst)})."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Scores by order, the last time's mean and variance, and the closed form's error."""
        own, null = self.scores()
        rows = [
            Estimate(
                f"squared deviation of the {ORDERS[k]}",
                float(own[k]),
                float(null[:, k].std()),
                "(± among replicates, whose mean is 1; 95% are below "
                f"{float(null[:, k].quantile(0.95)):.2f})",
            )
            for k in range(self.orders)
        ]
        return (*rows, *self._last(), *self._closed())

    def _last(self) -> list[Estimate]:
        """Data less fit at the last time."""
        rows = self.replicates[:, -1]
        gap, error = self.data[-1] - rows.mean(0), rows.std(0)
        return [
            Estimate(
                f"{ORDERS[k]} of {name} at t = {float(self.times[-1]):g}, data less fit",
                float(gap[c, k]),
                float(error[c, k]),
                f"(fit {float(rows[:, c, k].mean()):.3g})",
            )
            for c, name in enumerate(self.axes.names)
            for k in range(min(2, self.orders))
        ]

    def _closed(self) -> list[Estimate]:
        """How far the closed form is from Monte Carlo, in its errors and in its own size."""
        pooled, error = self.pooled
        off = (
            ((self.closed - pooled)[1:] / error[1:].clamp(min=1e-300)).square().mean((0, 1)).sqrt()
        )
        share = self.closed[1:, :, 1] / pooled[1:, :, 1] - 1
        found = [
            Estimate(
                f"{self.name} less Monte Carlo, {ORDERS[k]}", float(off[k]), unit="errors (1)"
            )
            for k in range(4)
        ]
        name = f"{self.name}, largest error of a variance"
        return [*found, Estimate(name, float(share.abs().max()), unit="of Monte Carlo's")]

    def arrays(self) -> dict[str, Tensor]:
        """Everything drawn."""
        pooled, error = self.pooled
        rows = self.replicates
        return {
            "times": self.times,
            "data": self.data,
            "fit.low": rows.quantile(0.05, dim=0),
            "fit.high": rows.quantile(0.95, dim=0),
            "monte_carlo": pooled,
            "monte_carlo.stderr": error,
            "closed": self.closed,
        }

    def figures(self) -> tuple[Figure, ...]:
        """One for each order, a panel for each component."""
        return tuple(self._figure(k) for k in range(self.orders))

    def _figure(self, order: int) -> Figure:
        panels = tuple(
            Panel("time", ORDERS[order], self._layers(c, order), label)
            for c, label in enumerate(self.axes.labels)
        )
        return Figure(
            ORDERS[order].replace(" ", "_"),
            panels,
            f"The {ORDERS[order]} of components over {counted(self.documents, 'test document')}, "
            "and among simulated replicates of them (5 to 95%); the "
            f"{self.name} of the fit from the same starting states.",
        )

    def _layers(self, component: int, order: int) -> tuple[Layer, ...]:
        rows = self.replicates[:, :, component, order]
        low, high = rows.quantile(torch.tensor([0.05, 0.95]).to(rows), dim=0)
        t = self.times
        closed, data = (each[:, component, order] for each in (self.closed, self.data))
        return (
            Layer("band", {"x": t, "low": low, "high": high}, "replicates of the fit", 1),
            Layer("line", {"x": t, "y": closed}, self.name, 1, dashed=True),
            Layer("line", {"x": t, "y": data}, "data", 0),
        )
