"""Actual and predicted paths in two principal components, and how they part with the steps."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.selection import selected
from sdelens.evidence.student import student
from sdelens.fitting.baselines import TERMS
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study, Viewed
from sdelens.paths.moments import Moments, times_of
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.observed_path import first_paths, observed_path, words_of
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.trajectory.free_run import INSIDE, Horizons
from sdelens_plugins.analyzers.trajectory.path_figure import PathFigure

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
    "below that of the mean state, which knows nothing of the text. What a nonlinear drift is "
    "worth shows in the distance to the linear law, which is fitted to the same documents and "
    "run as freely; its own noise does not move its mean. One path is an illustration: "
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
        path = observed_path(study, tokens=self.tokens)
        plane = PrincipalComponents.plane(viewed.train)
        starts = first_paths(
            viewed.test,
            documents=self.documents,
            states=HORIZONS[-1] + 1,
            group=study.documents.group,
        )
        words = words_of(study, path.tokens)
        own = derive(seed, "path")
        shown = PathFigure.of(fitted, plane, path, words, draws=self.paths, seed=own)
        linear = linear_mean(viewed)
        horizons = Horizons.of(fitted, linear, plane, starts, draws=self.paths, seed=seed)
        return Finding(
            analyzer="trajectory",
            view=str(view),
            headline=f"{shown.headline()} {on_bands(horizons.coverage, plane, fitted)} "
            f"{on_divergence(horizons)}",
            reading=f"{on_noise(horizons.coverage, fitted)}{READING}",
            estimates=(*shown.estimates(), *over_documents(horizons)),
            arrays=shown.arrays() | {f"horizon.{k}": v for k, v in vars(horizons).items()},
            figures=(*shown.figures(), horizon_figure(horizons)),
            prompt=study.prompt,
        )


def on_bands(coverage: DocumentMean, plane: PrincipalComponents, fitted: Fitted) -> str:
    """Whether the free-running bands hold what they are meant to; no more than is shown."""
    judged = ""
    if misses(coverage):
        narrow = coverage.value < INSIDE
        why = " (diagonal noise can make them so)" if narrow and diagonal(fitted) else ""
        judged = f"are too {'narrow' if narrow else 'wide'}{why}: they "
    return (
        f"Run freely, its {INSIDE:.0%} bands {judged}hold {coverage.percent} of the states of "
        f"{counted(coverage.documents, 'test document')} in the first two principal components, "
        f"which have {sum(plane.shares):.0%} of the variance."
    )


def misses(coverage: DocumentMean) -> bool:
    """Whether bands are shown to hold another share than they are meant to."""
    return bool(coverage.stderr) and coverage.differs_from(INSIDE)


def on_divergence(horizons: Horizons) -> str:
    """How far off the mean is at the nearest and at the furthest horizon, and the linear law's."""
    used = [h for h in HORIZONS if h <= horizons.free.shape[1]]
    parts = [
        f"{horizons.to_walk('free', h)} after {counted(h, 'step')} "
        f"(a linear law's {horizons.to_walk('linear', h)})"
        for h in dict.fromkeys((used[0], used[-1]))
    ]
    return f"Its mean is off by {' and '.join(parts)} of the random walk's distance."


def on_noise(coverage: DocumentMean, fitted: Fitted) -> str:
    """Why bands can be too narrow, where they are shown to be; else nothing."""
    if not misses(coverage) or coverage.value > INSIDE:
        return ""
    if diagonal(fitted):
        rank = min(32, fitted.basis.latent // 2)
        return (
            "The free-running bands are too narrow here, and diagonal noise can be why: it "
            "ignores the correlations between coordinates. Along a leading component, which many "
            "coordinates share, these add up, so that the simulated variance there is too small. "
            f"A fit with --set probe.noise=correlated:{rank} carries them. "
        )
    return (
        "The free-running bands are too narrow here although the noise of the fit is not "
        "diagonal: errors of the drift that add up over steps, tails heavier than Gaussian, or a "
        "memory longer than one step can do that. "
    )


def diagonal(fitted: Fitted) -> bool:
    """Whether correlations between coordinates are left out."""
    return fitted.sde.noise_type == "diagonal" and fitted.basis.latent > 1


def over_documents(horizons: Horizons) -> tuple[Estimate, ...]:
    """Distances relative to the random walk's, and the bands' coverage, with errors."""
    words = {
        "free": "distance of free runs' mean",
        "linear": "distance of the linear law's mean",
        "lead": "linear law's distance less the fit's",
        "centre": "distance of the mean state",
    }
    found = [
        horizons.to_walk(name, h).estimate(f"{said}, {counted(h, 'step')}", "of random walk's")
        for h in HORIZONS
        if h <= horizons.free.shape[1]
        for name, said in words.items()
    ]
    inside = horizons.coverage
    name = f"inside the 90% band, {counted(inside.documents, 'document')}"
    return (*found, Estimate(name, inside.value, inside.stderr, "of 0.9 expected"))


def horizon_figure(horizons: Horizons) -> Figure:
    """Mean distance by steps ahead: the fit, the linear law, the random walk, the mean state."""
    names = {
        "free": "free-running mean",
        "linear": "linear law's mean",
        "walk": "random walk",
        "centre": "mean state",
    }
    layers = [
        layer
        for series, (name, label) in enumerate(names.items())
        for layer in _course(getattr(horizons, name), label, series)
    ]
    lead = (*_course(horizons.lead, "", 0), _level(0.0, horizons.free.shape[1]))
    return Figure(
        "horizon",
        (
            Panel(
                "steps ahead",
                "distance from the actual state, latent units",
                tuple(layers),
                "Divergence",
            ),
            Panel(
                "steps ahead",
                "linear law's less the fit's, latent units",
                lead,
                "Lead over the linear law",
            ),
        ),
        "Mean distance from the actual state by steps after the first, in the coordinates of the "
        f"fit, over {counted(len(horizons.free), 'test document')}, with 95% intervals over those "
        "that go on; and by how much the linear law's is larger, document by document. The mean "
        "state is that of training.",
    )


def _course(
    values: Float[Tensor, "document horizon"], label: str, series: int
) -> tuple[Layer, Layer]:
    """A line in its band."""
    steps = torch.arange(1, values.shape[1] + 1).double()
    mean, margin = _over(values)
    band = {"x": steps, "low": mean - margin, "high": mean + margin}
    line = Layer("line", {"x": steps, "y": mean}, label, series, dashed=series > 0)
    return Layer("band", band, series=series), line


def _level(y: float, steps: int) -> Layer:
    ends = torch.tensor([1.0, max(steps, 2)])
    return Layer("line", {"x": ends, "y": torch.full((2,), y)}, series=2, dashed=True)


def _over(
    values: Float[Tensor, "document horizon"],
) -> tuple[Float[Tensor, " horizon"], Float[Tensor, " horizon"]]:
    """Mean, and half of its 95% interval, over the documents that got so far."""
    count = values.isfinite().sum(0)
    mean = values.nanmean(0)
    spread = (values - mean).square().nansum(0) / (count - 1).clamp(min=1)
    quantile = torch.tensor([student(0.975, int(n)) for n in count])
    return mean, quantile * (spread / count).sqrt()


def linear_mean(viewed: Viewed) -> AdditiveMean:
    """The linear baseline, in the fit's coordinates."""
    train, validation = (viewed.fitted.encoded(side) for side in (viewed.train, viewed.validation))
    times = times_of(train)
    moments, held = Moments.of(train, times), Moments.of(validation, times)
    return selected(moments, held, TERMS["linear"]).to(torch.float32)
