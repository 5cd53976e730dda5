"""Actual and predicted paths in two principal components (the paper's Figures 2 and 3)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitted import Fitted
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.seeds import derive
from sdelens.study import Study
from sdelens_plugins.analyzers.freerun import Band, Horizons, Ratio, released
from sdelens_plugins.analyzers.observed import Observed, observed, openings, words_of
from sdelens_plugins.analyzers.plane import Plane

HORIZONS = (1, 5, 10, 20)
"""Steps ahead at which free-running predictions are measured."""
READING = (
    "A plane shows two of many dimensions: what the path does in the others is not seen, and the "
    "axes say how much of the training states' variance they hold. One step ahead, each predicted "
    "point starts from the actual state before it, so that any model which copies the current "
    "state looks good: what counts is the increment R², which is 0 for the random walk (and "
    "negative for worse). Run freely, the process sees the first state only. Its mean must leave "
    "the actual path sooner or later; the fit is calibrated where the band holds nine points in "
    "ten, and tells more than where it started while its distance is below the random walk's and "
    "below that of the mean state, which knows nothing of the text. One path is an illustration: "
    "its points depend on each other, so no error is given for it; errors are over documents. "
    "That the bands hold the states does not show that they are a diffusion."
)


@dataclass(frozen=True)
class TrajectoryAnalyzer:
    """The path of the prompt, or else of a test document, beside what the fit expected.

    `tokens` states of it are shown. Free-running bands are of `paths` simulated paths; distances
    are means over the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    scope: ClassVar[str] = "view"

    tokens: int = 40
    paths: int = 64
    documents: int = 64

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted = viewed.fitted
        path = observed(study, tokens=self.tokens)
        plane = Plane.of(viewed.train)
        starts = openings(viewed.test, documents=self.documents, states=HORIZONS[-1] + 1)
        words = words_of(study, path.tokens)
        own = derive(seed, "path")
        shown = Shown.of(fitted, plane, path, words, draws=self.paths, seed=own)
        horizons = Horizons.of(fitted, plane, starts, draws=self.paths, seed=seed)
        return Finding(
            analyzer="trajectory",
            view=str(view),
            headline=shown.headline(),
            reading=READING,
            estimates=(*shown.estimates(), *over_documents(horizons)),
            arrays=shown.arrays() | {f"horizon.{k}": v for k, v in vars(horizons).items()},
            figures=(*shown.figures(), horizon_figure(horizons)),
            prompt=study.prompt,
        )


@dataclass(frozen=True, eq=False)
class Shown:
    """One path and its predictions, in the plane."""

    path: Observed
    words: tuple[str, ...]
    plane: Plane
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
        plane: Plane,
        path: Observed,
        words: tuple[str, ...],
        *,
        draws: int,
        seed: int,
    ) -> "Shown":
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
        """What the two predictions are worth on this path."""
        return (
            f"Along {self.path.name}, one step ahead, the fit explains {self.r2:.0%} of the squared "
            f"increments (a random walk 0%); run freely from its first state, its 90% band holds "
            f"{self.inside:.0%} of the {self.path.steps} later points in the first two principal "
            f"components, which hold {sum(self.plane.shares):.0%} of the variance."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Of one path, without errors."""
        n = f"one path of {self.path.steps} steps"
        first, second = self.plane.shares
        return (
            Estimate("variance explained by PC 1", first, unit="of the standardised variance"),
            Estimate("variance explained by PC 2", second, unit="of the standardised variance"),
            Estimate(f"one-step increment R², {n}", self.r2),
            Estimate(f"points inside the 90% band, {n}", self.inside, unit="of 0.9 expected"),
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
            Panel(x, y, _trail(self.actual, "actual", 0), "Actual", share="plane"),
            Panel(
                x, y, _trail(self.predicted, "predicted", 1), "Predicted one step", share="plane"
            ),
        )
        return Figure(
            "path",
            panels,
            f"The states along {self.path.name}, and each as predicted from the actual state before "
            "it, in the first two principal components of the standardised training states.",
        )

    def _overlaid(self) -> Figure:
        x, y = self.plane.labels
        words = Layer("words", _columns(self.actual), words=self.words)
        layers = (
            *_trail(self.predicted, "predicted one step", 1, dashed=True),
            *_trail(self.actual, "actual", 0),
            words,
        )
        return Figure(
            "overlay",
            (Panel(x, y, layers),),
            f"Both paths along {self.path.name}; each word stands at the actual state after it has "
            "been read.",
        )

    def _free(self) -> Figure:
        panels = tuple(self._component(k, label) for k, label in enumerate(self.plane.labels))
        return Figure(
            "free",
            panels,
            f"The fit run freely from the first state of {self.path.name}: mean and 5 to 95% band of "
            "simulated paths, and the actual path.",
        )

    def _component(self, k: int, label: str) -> Panel:
        t = self.path.times
        band = {"x": t, "low": self.band.low[:, k], "high": self.band.high[:, k]}
        layers = (
            Layer("band", band, "simulated, 5-95%", series=1),
            Layer("line", {"x": t, "y": self.band.mean[:, k]}, "simulated, mean", 1, dashed=True),
            Layer("line", {"x": t, "y": self.actual[:, k]}, "actual", series=0),
        )
        return Panel("token position", label, layers)


def _columns(points: Float[Tensor, "time 2"]) -> dict[str, Tensor]:
    return {"x": points[:, 0], "y": points[:, 1]}


def _trail(
    points: Float[Tensor, "time 2"], label: str, series: int, *, dashed: bool = False
) -> tuple[Layer, ...]:
    """A line with its points, the first one ringed."""
    line = Layer("line", _columns(points), label, series, dashed=dashed)
    dots = Layer("scatter", _columns(points), series=series)
    return line, dots


def over_documents(horizons: Horizons) -> tuple[Estimate, ...]:
    """Distances relative to the random walk's, and the bands' coverage, with errors."""
    found = []
    for h in HORIZONS:
        if h > horizons.free.shape[1]:
            break
        seen = horizons.free[:, h - 1].isfinite()
        free, walk, centre = (
            getattr(horizons, name)[seen, h - 1] for name in ("free", "walk", "centre")
        )
        steps = f"{h} step{'s' if h > 1 else ''} ahead, {len(free)} documents"
        ours, mean = Ratio.of(free, walk), Ratio.of(centre, walk)
        unit = "of the random walk's"
        found.append(Estimate(f"distance of the free-running mean, {steps}", *ours.pair, unit))
        found.append(Estimate(f"distance of the mean state, {steps}", *mean.pair, unit))
    share = horizons.inside.nanmean(1)
    inside = Ratio.of(share, torch.ones_like(share))
    name = f"points inside the 90% band, {inside.documents} documents"
    return (*found, Estimate(name, *inside.pair, "of 0.9 expected"))


def horizon_figure(horizons: Horizons) -> Figure:
    """Mean distance by steps ahead: the fit, the random walk, the mean state."""
    steps = torch.arange(1, horizons.free.shape[1] + 1).double()
    names = {"free": "free-running mean", "walk": "random walk", "centre": "mean state"}
    layers: list[Layer] = []
    for series, (name, label) in enumerate(names.items()):
        mean, error = _over(getattr(horizons, name))
        band = {"x": steps, "low": mean - 1.96 * error, "high": mean + 1.96 * error}
        layers.append(Layer("band", band, series=series))
        layers.append(Layer("line", {"x": steps, "y": mean}, label, series, dashed=series > 0))
    panel = Panel("steps ahead", "distance from the actual state", tuple(layers))
    return Figure(
        "horizon",
        (panel,),
        f"Mean distance from the actual state over the openings of {len(horizons.free)} test "
        "documents, in the coordinates of the fit, with 95% intervals over those that go on.",
    )


def _over(
    values: Float[Tensor, "document horizon"],
) -> tuple[Float[Tensor, " horizon"], Float[Tensor, " horizon"]]:
    """Mean and standard error over the documents that got so far; no error from one document."""
    count = values.isfinite().sum(0)
    mean = values.nanmean(0)
    spread = (values - mean).square().nansum(0) / (count - 1).clamp(min=1)
    return mean, (spread / count).sqrt()
