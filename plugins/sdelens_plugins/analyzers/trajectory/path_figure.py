"""One path and its predictions, one step ahead and free-running, in the plane."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.trajectory.free_run import Band, released


@dataclass(frozen=True, eq=False)
class PathFigure:
    """One path and its predictions, in the plane."""

    path: ObservedPath
    words: tuple[str, ...]
    plane: PrincipalComponents
    actual: Float[Tensor, "time 2"]
    predicted: Float[Tensor, "step 2"]
    """Of the states after the first, each from the actual state before it."""
    band: Band
    inside: float
    r2: float

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        plane: PrincipalComponents,
        path: ObservedPath,
        words: tuple[str, ...],
        *,
        draws: int,
        seed: int,
    ) -> "PathFigure":
        """One step ahead and free-running."""
        t, x = path.times, path.states
        latent = fitted.basis.encode(t, x)
        mean = fitted.sde.transition(t[:-1], latent[:-1]).mean
        squares = (latent[1:] - mean).square().sum() / latent.diff(dim=0).square().sum()
        free = released(fitted, x[:1], t=float(t[0]), steps=path.steps, draws=draws, seed=seed)
        band = Band.of(plane.project(free[:, 0]))
        actual = plane.project(x)
        return cls(
            path=path,
            words=words,
            plane=plane,
            actual=actual,
            predicted=plane.project(fitted.basis.decode(t[1:], mean)),
            band=band,
            inside=float(band.holds(actual)[1:].float().mean()),
            r2=1 - float(squares),
        )

    def headline(self) -> str:
        """What one step ahead is worth on this path."""
        return (
            f"Along {self.path.name}, one step ahead, the fit explains {self.r2:.0%} of the "
            "squared increments (a random walk 0%)."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Of one path, whose points depend on each other: without errors."""
        n = "this path"
        first, second = self.plane.shares
        return (
            Estimate("variance explained by PC 1", first, unit="of the variance"),
            Estimate("variance explained by PC 2", second, unit="of the variance"),
            Estimate(f"one-step increment R², {n}", self.r2),
            Estimate(f"inside the 90% band, {n}", self.inside, unit="of 0.9 expected"),
        )

    def arrays(self) -> dict[str, Tensor]:
        """Everything drawn, in the plane, with positions and tokens."""
        return {
            "positions": self.path.times,
            "tokens": self.path.tokens,
            "actual": self.actual,
            "predicted": self.predicted,
            "free.mean": self.band.mean,
            "free.low": self.band.low,
            "free.high": self.band.high,
        }

    def figures(self) -> tuple[Figure, ...]:
        """Side by side, overlaid with the words, and free-running."""
        return self._side_by_side(), self._overlaid(), self._free()

    def _side_by_side(self) -> Figure:
        x, y = self.plane.labels
        panels = (
            Panel(x, y, _trail(self.actual, "", 0), "Actual", share="plane"),
            Panel(x, y, _trail(self.predicted, "", 1), "Predicted one step ahead", share="plane"),
        )
        return Figure(
            "path",
            panels,
            f"{self.path.span}: the states, and each as predicted from the actual state before "
            "it, in the first two principal components of the standardised training states.",
        )

    def _overlaid(self) -> Figure:
        x, y = self.plane.labels
        words = Layer("words", _columns(self.actual), words=self.words)
        start = Layer("scatter", _columns(self.actual[:1]), "start")
        predicted = _trail(self.predicted, "predicted one step ahead", 1, dashed=True)
        layers = (*_trail(self.actual, "actual", 0), start, *predicted, words)
        return Figure(
            "overlay",
            (Panel(x, y, layers),),
            f"{self.path.span}: both paths in one plane. Each word stands at the actual state "
            "after it has been read.",
        )

    def _free(self) -> Figure:
        panels = tuple(self._component(k, label) for k, label in enumerate(self.plane.labels))
        return Figure(
            "free",
            panels,
            f"{self.path.span}: the fit run freely from the first of these states (mean and 5 to "
            "95% band of simulated paths), and the actual path.",
        )

    def _component(self, k: int, label: str) -> Panel:
        t = self.path.times
        band = {"x": t, "low": self.band.low[:, k], "high": self.band.high[:, k]}
        layers = (
            Layer("band", band, "simulated, 5 to 95%", series=1),
            Layer("line", {"x": t, "y": self.band.mean[:, k]}, "simulated, mean", 1, dashed=True),
            Layer("line", {"x": t, "y": self.actual[:, k]}, "actual", series=0),
        )
        return Panel("token position", label, layers)


def _columns(points: Float[Tensor, "time 2"]) -> dict[str, Tensor]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _trail(
    points: Float[Tensor, "time 2"], label: str, series: int, *, dashed: bool = False
) -> tuple[Layer, ...]:
    """A line with its points."""
    line = Layer("line", _columns(points), label, series, dashed=dashed)
    dots = Layer("scatter", _columns(points), series=series)
    return line, dots
