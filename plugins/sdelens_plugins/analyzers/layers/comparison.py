"""Every layer of a run beside the others, along the token axis."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.by_layer import LayerStory
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Study
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.intervals import estimate, line_with_band, with_interval
from sdelens_plugins.analyzers.common.layer_axis import layer_label, layer_number, views_by_depth
from sdelens_plugins.analyzers.common.units import NATS

MEASURES = ("gain", "r2", "noise", "residual", "radius")
READING = (
    "Each layer has a fit, a basis and a scale of its own. The gain is over the best of random "
    "walk, random walk with drift and i.i.d. states per position (the null: a layer whose gain "
    "is zero is told no better by its state), under noise of the same kind; the increment R² is 0 "
    "for the random walk. The noise of one step is in standard deviations of a layer's own "
    "coordinates; where it lies below the held-out residuals, the law is too sure. A spectral "
    "radius of the mean map below one means that small deviations die out along the text; it is "
    "of the linearisation at the mean state, and says nothing of states far from it, nor of "
    "growth on the way there. Layers share their documents, so that neighbouring intervals "
    "rise and fall together: that two intervals overlap does not show that layers are equal. "
    "Differences by layer are of the fits: a layer may move more regularly because it does less."
)


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """The measures of all layers in order of depth."""

    reading: ClassVar[str] = READING
    names: tuple[str, ...]
    x: Float[Tensor, " layer"]
    label: str
    stories: tuple[LayerStory, ...]
    documents: int

    @classmethod
    def of(cls, study: Study, groups: Int[Tensor, " document"], *, seed: int) -> "LayerComparison":
        """One layer after the other, so that memory does not grow with their number."""
        views = views_by_depth(study)
        stories = tuple(
            LayerStory.of(study.views[view], groups, seed=derive(seed, view)) for view in views
        )
        scores = study.views[views[0]].fitted.record.scores
        return cls(
            tuple(map(str, views)),
            torch.tensor([layer_number(view) for view in views]).double(),
            layer_label(study),
            stories,
            int(scores["held_out_documents"]),
        )

    def measure(self, name: str) -> Interval:
        """One measure of all layers."""
        return Interval.stack(getattr(story, name) for story in self.stories)

    @property
    def stable(self) -> bool:
        """Whether there are mean maps to linearise: not of laws that are no SDE."""
        return bool(self.measure("radius").value.isfinite().all())

    def headline(self) -> str:
        gain, r2 = self.measure("gain"), self.measure("r2")
        most, least = int(gain.value.argmax()), int(gain.value.argmin())
        return (
            f"Of {len(self.names)} layers {self.names[most]} gains most over the best baseline, "
            f"{with_interval(gain[most])} {NATS} on {self.documents:,} held-out documents, and "
            f"{self.names[least]} least, {with_interval(gain[least])}; the share of squared "
            f"increments explained goes from {with_interval(r2[0], 2)} at {self.names[0]} to "
            f"{with_interval(r2[-1], 2)} at {self.names[-1]}."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        found = [
            Estimate("held-out documents", float(self.documents), unit="the sample size"),
        ]
        for name, story in zip(self.names, self.stories, strict=True):
            found.append(estimate(f"{name}: gain over {story.rival}", story.gain, NATS))
            found.append(estimate(f"{name}: increment R²", story.r2, ""))
            if self.stable:
                found.append(estimate(f"{name}: spectral radius", story.radius, ""))
        return tuple(found)

    def arrays(self) -> dict[str, Tensor]:
        """Everything drawn, by measure."""
        return prefixed(**{name: self.measure(name).tensors() for name in MEASURES}) | {
            "layer": self.x
        }

    def figures(self) -> tuple[Figure, ...]:
        return self._gains(), self._motion()

    def _gains(self) -> Figure:
        zero = Layer("line", {"x": self.x, "y": 0 * self.x}, "", 5, dashed=True)
        panels = (
            Panel(self.label, f"gain, {NATS}", (*self._course("gain"), zero), "Gain"),
            Panel(self.label, "share explained", (*self._course("r2"), zero), "Increment R²"),
        )
        caption = (
            "Gain of the fit over the best baseline, and the share of the squared increments that "
            f"its mean explains, by layer, with 95% intervals over {self.documents:,} held-out "
            "documents; the dashed line is no better than the baseline, and the random walk."
        )
        return Figure("layers", panels, caption)

    def _motion(self) -> Figure:
        one = Layer("line", {"x": self.x, "y": 0 * self.x + 1}, "", 5, dashed=True)
        noise = (
            *self._course("noise", "noise of the fit"),
            *self._course("residual", "held-out residuals", 1),
        )
        radius = (*self._course("radius"), one)
        panels = (
            Panel(self.label, "standard deviations a step", noise, "Noise of one step"),
            *([Panel(self.label, "spectral radius", radius, "Stability")] if self.stable else []),
        )
        caption = (
            "Root mean square of the fit's noise and of held-out residuals in each layer's "
            "standardised coordinates, with 95% intervals over documents."
        )
        return Figure("motion", panels, caption + (self._error() if self.stable else ""))

    def _error(self) -> str:
        error = "with 95% intervals from fits to other samples of the training documents"
        if not self.measure("radius").stderr.isfinite().any():
            error = "without intervals, which take a fit with --ensemble 5"
        return f" Right: the spectral radius, {error}; below the dashed line deviations die out."

    def _course(self, name: str, label: str = "", series: int = 0) -> tuple[Layer, ...]:
        return line_with_band(self.x, self.measure(name), label, series)
