"""Measures of every layer of a run, along the token axis."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.by_layer import LayerStory
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Study
from sdelens_plugins.analyzers.common.layer_axis import layer_label, layer_number, views_by_depth

MEASURES = ("gain", "r2", "noise", "residual", "radius")


@dataclass(frozen=True, eq=False)
class LayerComparison:
    """The measures of all layers, in order of depth."""

    names: tuple[str, ...]
    x: Float[Tensor, " layer"]
    label: str
    """The label of the axis of layers."""
    layers: tuple[LayerStory, ...]
    documents: int

    @classmethod
    def of(cls, study: Study, groups: Int[Tensor, " document"]) -> "LayerComparison":
        """Measured layer by layer, so that memory does not grow with their number."""
        views = views_by_depth(study)
        layers = tuple(LayerStory.of(study.views[view], groups) for view in views)
        scores = study.views[views[0]].fitted.record.scores
        return cls(
            tuple(map(str, views)),
            torch.tensor([layer_number(view) for view in views]).double(),
            layer_label(study),
            layers,
            int(scores["held_out_documents"]),
        )

    def measure(self, name: str) -> Interval:
        """One of `MEASURES`, for all layers."""
        return Interval.stack(getattr(layer, name) for layer in self.layers)

    @property
    def has_radius(self) -> bool:
        """Whether all layers have a spectral radius: laws that are not SDEs have none."""
        return bool(self.measure("radius").value.isfinite().all())
