"""Learning curves of fits to plain and to branched transitions."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.analyzers.branched_target.results import LABELS, UNITS, SavingResults
from sdelens_plugins.analyzers.branched_target.training_sets import BRANCHED, SIZES


def learning_curves(results: SavingResults) -> Figure:
    """Held-out losses by the number of training documents."""
    panels = []
    for loss, label in LABELS.items():
        curves = results.savings[loss][0]
        lines = (
            _line(results, "steps that occurred", SIZES, curves.plain, 0),
            _line(results, f"{results.branches} branches", BRANCHED, curves.branched, 1),
        )
        panels.append(Panel("training documents", UNITS[loss], lines, label.capitalize()))
    caption = (
        f"Held-out losses of a {results.probe} fit at {results.view} by the number of training "
        "documents: fitted to the steps that occurred in them, or to steps to next states sampled "
        "from the model. The distance from a branched point to the right, to the plain curve, is "
        "the saving."
    )
    return Figure("curves", tuple(panels), caption)


def _line(
    results: SavingResults,
    label: str,
    parts: tuple[int, ...],
    loss: Float[Tensor, " size"],
    series: int,
) -> Layer:
    x = torch.tensor([float(results.documents[part]) for part in parts]).double()
    return Layer("line", {"x": x, "y": loss}, label, series, dashed=series > 0)
