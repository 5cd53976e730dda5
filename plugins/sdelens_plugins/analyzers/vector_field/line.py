"""The drift along a line, for states that vary in one direction only."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.field import LineField, averaged_on_line
from sdelens.dynamics.sample import Sample
from sdelens.estimation.ratio import Ratio, summed
from sdelens.fitting.fitted import Fitted
from sdelens.laws.jets import jacobian
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

NODES = 201
"""Nodes at which the drift is evaluated."""
COARSE = 41
"""Nodes at which observed changes are averaged."""
TAIL = 0.005
"""Share of the training states left outside at each end."""


@dataclass(frozen=True, eq=False)
class Line:
    """The direction in which states vary: the state itself, or the only principal component."""

    component: PrincipalComponents

    @property
    def own(self) -> bool:
        """Whether positions are the states themselves, in the data's unit."""
        return len(self.component.basis.spread) == 1

    @property
    def label(self) -> str:
        """Axis label."""
        return "state" if self.own else self.component.labels[0]

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Positions of states along the line."""
        return x[..., 0] if self.own else self.component.project(x)[..., 0]

    def direction(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Differences of states along the line."""
        return v[..., 0] if self.own else self.component.direction(v)[..., 0]

    def lift(self, z: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """The states at these positions."""
        return z[..., None] if self.own else self.component.lift(z[..., None])


@dataclass(frozen=True, eq=False)
class LineDrift:
    """The drift along the line, and the mean observed change of held-out states."""

    line: Line
    kind: str
    """slice or expectation."""
    t: float
    dt: float
    field: LineField
    """The drift of the fit."""
    observed: LineField
    """The mean change of held-out states, per unit of time."""
    density: Float[Tensor, " node"]
    """Training states nearest to each node of `observed`."""
    slope: tuple[float, float | None]
    """Mean slope of the drift over held-out states, and its standard error."""
    gap: tuple[float, float]
    """Mean squares over nodes of the fit's expectation less the data's, and of its error."""
    documents: int

    @classmethod
    def of(
        cls,
        line: Line,
        fitted: Fitted,
        train: Sample,
        test: Sample,
        t: float,
        kind: str,
        *,
        seed: int,
    ) -> "LineDrift":
        """The drift at time `t`, or its expectation over held-out states, by `kind`."""
        places, points = line.project(train.x).double(), line.project(test.x).double()
        low, high = places.quantile(torch.tensor([TAIL, 1 - TAIL]).double()).tolist()
        nodes, coarse = (
            torch.linspace(low, high, count, dtype=torch.float64) for count in (NODES, COARSE)
        )
        width = max(float(points.std()) * len(points) ** -0.2, (high - low) / (COARSE - 1))
        drift = line.direction(fitted.drift(test.t, test.x)).double()
        data = line.direction((test.following - test.x) / fitted.dt).double()

        def average(values: Tensor, at: Tensor) -> LineField:
            return averaged_on_line(
                at, points, values, test.document, width=width, seed=derive(seed, "line")
            )

        def along(z: Tensor) -> Tensor:
            return line.direction(fitted.drift(t, line.lift(z[..., 0])))[..., None].double()

        slope, slopes = (jacobian(along, at[:, None])[:, 0, 0] for at in (nodes, points))
        field = (
            LineField(nodes, along(nodes[:, None])[:, 0], slope)
            if kind == "slice"
            else average(drift, nodes)
        )
        gap = average(drift - data, coarse)
        error = gap.value_stderr if gap.value_stderr is not None else gap.value * torch.nan
        step = (high - low) / (COARSE - 1)
        place = ((places - low) / step).round().long()
        inside = place[(place >= 0) & (place < COARSE)]
        return cls(
            line=line,
            kind=kind,
            t=t,
            dt=fitted.dt,
            field=field,
            observed=average(data, coarse),
            density=torch.bincount(inside, minlength=COARSE).double(),
            slope=_mean(slopes, test),
            gap=(float(gap.value.square().mean()), float(error.square().mean())),
            documents=test.documents,
        )

    @property
    def crossings(self) -> Float[Tensor, "zero dim"]:
        """States between whose neighbours the drift changes sign: starts of a search for zeros."""
        value = self.field.value
        turns = (value[:-1] * value[1:] <= 0).nonzero()[:, 0]
        nodes = self.field.nodes
        return self.line.lift((nodes[turns] + nodes[turns + 1]) / 2)


def _mean(values: Tensor, test: Sample) -> tuple[float, float | None]:
    """The mean over held-out states, with its error over documents."""
    ratio = Ratio.of(*summed(values, test.document, test.documents))
    known = ratio.groups > 1 and ratio.stderr > 1e-6 * abs(ratio.value)
    return ratio.value, ratio.stderr if known else None
