"""The drift in one plane of principal components."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.dynamics.field import PlaneField, averaged, curl, divergence, sliced
from sdelens.dynamics.plane_grid import PlaneGrid
from sdelens.dynamics.sample import Sample
from sdelens.estimation.ratio import Ratio, summed
from sdelens.fitting.fitted import Fitted
from sdelens.laws.jets import jacobian
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

MIN_STATES = 3
"""Training states nearest to a node that an arrow there needs."""
ROUNDING = 1e-6
"""A smaller error of a slope is the rounding of float32."""


@dataclass(frozen=True, eq=False)
class PlaneDrift:
    """The drift on a grid in one plane, and its mean divergence and curl over held-out states."""

    axes: PrincipalComponents
    kind: str
    """slice or expectation."""
    t: float
    dt: float
    grid: PlaneGrid
    field: PlaneField
    divergence: tuple[float, float | None]
    """The mean and its standard error."""
    curl: tuple[float, float | None]
    gap: tuple[float, float]
    """Mean squares over nodes of the fit's expectation less the data's, and of its error."""
    documents: int

    @classmethod
    def of(
        cls,
        axes: PrincipalComponents,
        fitted: Fitted,
        train: Sample,
        test: Sample,
        t: float,
        kind: str,
        cells: int,
        *,
        seed: int,
    ) -> "PlaneDrift":
        """The slice at time `t`, or the expectation over held-out states, by `kind`."""
        points = axes.project(test.x)
        grid = PlaneGrid.over(axes.project(train.x), cells)
        drift = axes.direction(fitted.drift(test.t, test.x))
        data = axes.direction((test.following - test.x) / fitted.dt)
        width = bandwidth(points, grid)
        nodes, bootstrap_seed = grid.nodes.to(points), derive(seed, "plane")

        def average(values: Tensor, at: Tensor, width: Tensor) -> PlaneField:
            return averaged(at, points, values, test.document, width=width, seed=bootstrap_seed)

        def plane_drift(z: Tensor) -> Tensor:
            return axes.direction(fitted.drift(t, axes.lift(z)))

        gap = average(drift - data, nodes, width)
        populated = grid.filled(MIN_STATES)
        if kind == "slice":
            field, slope = sliced(plane_drift, nodes), jacobian(plane_drift, points)
            means = [_mean(values, test) for values in (divergence(slope), curl(slope))]
        else:
            field = average(drift, nodes, width)
            # one node and a width beyond all data: the linear regression over all states
            regression = average(drift, points.new_zeros(1, 2), 1e4 * width)
            means = _regression_means(regression)
        error = gap.value_stderr if gap.value_stderr is not None else gap.value * torch.nan
        squares = [float(each[populated].square().mean()) for each in (gap.value, error)]
        return cls(
            axes=axes,
            kind=kind,
            t=t,
            dt=fitted.dt,
            grid=grid,
            field=field,
            divergence=means[0],
            curl=means[1],
            gap=(squares[0], squares[1]),
            documents=test.documents,
        )

    @property
    def populated(self) -> Bool[Tensor, " node"]:
        """Nodes with enough data nearby."""
        return self.grid.filled(MIN_STATES)


def bandwidth(points: Float[Tensor, "state 2"], grid: PlaneGrid) -> Float[Tensor, "2"]:
    """Silverman's rule for two dimensions, at least a cell wide."""
    rule = points.double().std(0) * len(points) ** (-1 / 6)
    return torch.maximum(rule, grid.step)


def _mean(values: Tensor, test: Sample) -> tuple[float, float | None]:
    """The mean over held-out states, with its error over documents."""
    ratio = Ratio.of(*summed(values, test.document, test.documents))
    return _rounded(ratio.value, ratio.stderr if ratio.groups > 1 else None)


def _regression_means(field: PlaneField) -> list[tuple[float, float | None]]:
    """Divergence and curl of the regression over all states."""
    pairs = (
        (field.divergence, field.divergence_stderr),
        (field.curl, field.curl_stderr),
    )
    return [_rounded(float(v), None if e is None else float(e)) for v, e in pairs]


def _rounded(value: float, error: float | None) -> tuple[float, float | None]:
    """Rounded to float32: the slope of a linear drift is constant and has no error."""
    return round(value, 6), error if error is not None and error > ROUNDING else None
