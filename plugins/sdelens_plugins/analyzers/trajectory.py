"""Actual and predicted paths in two principal components (the paper's Figures 2 and 3)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.seeds import derive
from sdelens.study import Study
from sdelens_plugins.analyzers.freerun import Horizons, Ratio
from sdelens_plugins.analyzers.observed import observed, openings, words_of
from sdelens_plugins.analyzers.plane import Plane
from sdelens_plugins.analyzers.shown import Shown

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

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
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
        found.append(Estimate(f"distance of free runs' mean, {steps}", *ours.pair, unit))
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
