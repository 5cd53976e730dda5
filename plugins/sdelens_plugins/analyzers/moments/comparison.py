"""Moments of the data beside those of replicates and of a closed form."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.moments import ORDERS, central
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

BATCHES = 10
"""Of the simulated replicates, for the error of what Monte Carlo says of a closed form."""


@dataclass(frozen=True, eq=False)
class MomentComparison:
    """Moments of the data, of replicates, and of a closed form."""

    axes: PrincipalComponents
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
            f"{counted(len(self.axes.components), 'component')} are {which} (mean squared "
            "deviation, "
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
