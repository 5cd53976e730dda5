"""The drift in one plane of principal components, with what is drawn beside it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.dynamics.field import PlaneField, averaged, curl, divergence, sliced
from sdelens.dynamics.grid import Grid
from sdelens.dynamics.sample import Sample
from sdelens.estimation.ratio import Ratio, summed
from sdelens.fitting.fitted import Fitted
from sdelens.laws.jets import jacobian
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents

LEAST = 3
"""Training states nearest to a node, for an arrow there."""
UNIT = "per unit of time"
ROUNDING = 1e-6
"""Errors of a slope that are smaller than this are of float32."""


@dataclass(frozen=True, eq=False)
class Plane:
    """A field on a grid, and the averages of its derivatives over held-out states."""

    axes: PrincipalComponents
    kind: str
    t: float
    dt: float
    grid: Grid
    field: PlaneField
    divergence: tuple[float, float | None]
    curl: tuple[float, float | None]
    missed: tuple[float, float]
    """Mean squares of the fit's expectation less the data's, and of its standard error."""
    documents: int

    @classmethod
    def of(
        cls,
        axes: PrincipalComponents,
        fitted: Fitted,
        train: Sample,
        held: Sample,
        t: float,
        kind: str,
        cells: int,
        *,
        seed: int,
    ) -> "Plane":
        """The slice at time `t`, or the expectation over held-out states."""
        points = axes.project(held.x)
        grid = Grid.over(axes.project(train.x), cells)
        drift = axes.direction(fitted.drift(held.t, held.x))
        data = axes.direction((held.following - held.x) / fitted.dt)
        width = bandwidth(points, grid)
        nodes, own = grid.nodes.to(points), derive(seed, "plane")

        def over(values: Tensor, at: Tensor, width: Tensor) -> PlaneField:
            return averaged(at, points, values, held.document, width=width, seed=own)

        def plane(z: Tensor) -> Tensor:
            return axes.direction(fitted.drift(t, axes.lift(z)))

        gap = over(drift - data, nodes, width)
        shown = grid.filled(LEAST)
        if kind == "slice":
            field, slope = sliced(plane, nodes), jacobian(plane, points)
            means = [_mean(each, held) for each in (divergence(slope), curl(slope))]
        else:
            field = over(drift, nodes, width)
            # one node and a width beyond all data: the linear regression over all states
            whole = over(drift, points.new_zeros(1, 2), 1e4 * width)
            means = _whole(whole)
        error = gap.value_stderr if gap.value_stderr is not None else gap.value * torch.nan
        missed = (gap.value[shown].square().mean(), error[shown].square().mean())
        sizes = float(missed[0]), float(missed[1])
        turns = means[0], means[1]
        return cls(axes, kind, t, fitted.dt, grid, field, *turns, sizes, held.documents)

    @property
    def shown(self) -> Bool[Tensor, " node"]:
        """Nodes near which there are data."""
        return self.grid.filled(LEAST)

    @property
    def where(self) -> str:
        """Which field it is, for a caption."""
        if self.kind == "slice":
            return f"other components at their mean, t = {self.t:g}"
        return f"mean over the held-out states near by, {self.documents} documents"

    def headline(self) -> str:
        """Divergence and curl beside those of states in random order."""
        parts = [Estimate("", *pair).number for pair in (self.divergence, self.curl)]
        return (
            f"In the plane of {' and '.join(self.axes.names)} the drift ({self.kind}) has mean "
            f"divergence {parts[0]} and curl {parts[1]} {UNIT}, where states in random order have "
            f"{-2 / self.dt:g} and 0."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Averages over held-out states, and how well the fit's field is the data's."""
        null = f"{UNIT} (states in random order {-2 / self.dt:g}, random walk 0)"
        found, error = self.missed
        size = float(self.field.value[self.shown].square().mean())
        shares = zip(self.axes.names, self.axes.shares, strict=True)
        return (
            *(Estimate(f"variance along {name}", s, unit="of the variance") for name, s in shares),
            Estimate("divergence in the plane", *self.divergence, null),
            Estimate("curl in the plane", *self.curl, f"{UNIT} (random order 0)"),
            Estimate("mean drift in the plane", size**0.5, unit=f"root mean square, {UNIT}"),
            Estimate(
                "fitted less observed mean change",
                found**0.5,
                unit=f"root mean square over nodes ({error**0.5:.3g} by chance alone)",
            ),
        )

    def arrays(self, path: ObservedPath) -> dict[str, Tensor]:
        """Everything drawn."""
        field = self.field
        errors = {
            "field.value_stderr": field.value_stderr,
            "field.divergence_stderr": field.divergence_stderr,
            "field.curl_stderr": field.curl_stderr,
        }
        return {
            "nodes": field.nodes,
            "shown": self.shown,
            "density": self.grid.count,
            "field.value": field.value,
            "field.divergence": field.divergence,
            "field.curl": field.curl,
            "path": self.axes.project(path.states),
            **{name: each for name, each in errors.items() if each is not None},
        }

    def arrows(self, path: ObservedPath, *, density: bool = True) -> tuple[Layer, ...]:
        """Arrows over the density of training states, and the path."""
        keep, field = self.shown, self.field
        ends = torch.cat([field.nodes, field.value], dim=-1)[keep].unbind(-1)
        trail = dict(zip("xy", self.axes.project(path.states).unbind(-1), strict=True))
        start = {name: column[:1] for name, column in trail.items()}
        heat = [self._heat(self.grid.count.ravel().log10(), "log10 training states")]
        return (
            *(heat if density else []),
            Layer("line", trail, path.name, series=1),
            Layer("scatter", start, "its start", series=1),
            Layer("arrows", dict(zip("xyuv", ends, strict=True)), series=5 if density else 0),
        )

    def plain(self, path: ObservedPath) -> Panel:
        """Arrows and path alone, for a small panel."""
        across, up = self.axes.names
        return Panel(across, up, self.arrows(path, density=False))

    def figures(
        self, path: ObservedPath, fixed: Float[Tensor, "point dim"], stable: Bool[Tensor, " point"]
    ) -> tuple[Figure, ...]:
        """The arrows with their length, and divergence and curl."""
        rest = self._rest(fixed, stable)
        arrows = self._panel((*self.arrows(path), *rest), "Drift")
        length = self._map(self.field.magnitude, f"length {UNIT}", "Length of the drift")
        turns = (
            self._map(self.field.divergence, UNIT, "Divergence"),
            self._map(self.field.curl, UNIT, "Curl"),
        )
        said = f"The drift in two principal components ({self.where})"
        figures = (
            Figure(
                "field",
                (arrows, length),
                f"{said} over the density of training states, with {path.name}; arrows are drawn "
                f"where there are {LEAST} states or more, and their length is on the right.",
            ),
            Figure(
                "derivatives",
                turns,
                f"Divergence and curl of that field. States in random order have {-2 / self.dt:g} "
                "and 0 everywhere.",
            ),
        )
        return (*figures, *self._errors())

    def _errors(self) -> list[Figure]:
        field = self.field
        if field.value_stderr is None or field.divergence_stderr is None:
            return []
        panels = (
            self._map(field.value_stderr.norm(dim=-1), UNIT, "Error of the drift"),
            self._map(field.divergence_stderr, UNIT, "Error of the divergence"),
        )
        text = f"Standard errors of the field over {self.documents} held-out documents."
        return [Figure("errors", panels, text)]

    def _map(self, values: Tensor, label: str, title: str) -> Panel:
        return self._panel((self._heat(values, label),), title)

    def _panel(self, layers: tuple[Layer, ...], title: str) -> Panel:
        across, up = self.axes.labels
        return Panel(across, up, layers, title)

    def _heat(self, values: Tensor, label: str) -> Layer:
        z = self.grid.shaped(values, self.shown)
        return Layer("heat", {"x": self.grid.across, "y": self.grid.up, "z": z}, label)

    def _rest(
        self, fixed: Float[Tensor, "point dim"], stable: Bool[Tensor, " point"]
    ) -> list[Layer]:
        places = self.axes.project(fixed)
        words = {True: ("fixed point, attracts", 2), False: ("fixed point, does not", 3)}
        return [
            Layer("scatter", {"x": p[:1], "y": p[1:]}, *words[bool(attracts)])
            for p, attracts in zip(places, stable, strict=True)
        ]


def bandwidth(points: Float[Tensor, "state 2"], grid: Grid) -> Float[Tensor, "2"]:
    """Silverman's rule for two dimensions, and no less than a cell."""
    rule = points.double().std(0) * len(points) ** (-1 / 6)
    return torch.maximum(rule, grid.step)


def _mean(values: Tensor, held: Sample) -> tuple[float, float | None]:
    """Over held-out states, with its error over documents."""
    ratio = Ratio.of(*summed(values, held.document, held.documents))
    return _sharp(ratio.value, ratio.stderr if ratio.groups > 1 else None)


def _whole(field: PlaneField) -> list[tuple[float, float | None]]:
    pairs = (
        (field.divergence, field.divergence_stderr),
        (field.curl, field.curl_stderr),
    )
    return [_sharp(float(v), None if e is None else float(e)) for v, e in pairs]


def _sharp(value: float, error: float | None) -> tuple[float, float | None]:
    """Without what float32 rounds: a linear drift has the same slope everywhere, and no error."""
    return round(value, 6), error if error is not None and error > ROUNDING else None
