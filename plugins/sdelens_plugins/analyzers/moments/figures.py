"""Moments over time: the data, the band of replicates and the closed form."""

import torch

from sdelens.dynamics.moments import ORDERS
from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.moments.comparison import MomentComparison


def figures(result: MomentComparison) -> tuple[Figure, ...]:
    """One figure for each order, with a panel for each component."""
    return tuple(_figure(result, order) for order in range(result.orders))


def _figure(result: MomentComparison, order: int) -> Figure:
    panels = tuple(
        Panel("time", ORDERS[order], _layers(result, component, order), label)
        for component, label in enumerate(result.axes.labels)
    )
    return Figure(
        ORDERS[order].replace(" ", "_"),
        panels,
        f"The {ORDERS[order]} of components over {counted(result.documents, 'test document')}, "
        "the 5 to 95% band of simulated replicates of these documents, and the "
        f"{result.closed_name} of the fit from the same starting states.",
    )


def _layers(result: MomentComparison, component: int, order: int) -> tuple[Layer, ...]:
    rows = result.replicates[:, :, component, order]
    low, high = rows.quantile(torch.tensor([0.05, 0.95]).to(rows), dim=0)
    t = result.times
    closed, data = (moments[:, component, order] for moments in (result.closed, result.data))
    return (
        Layer("band", {"x": t, "low": low, "high": high}, "replicates of the fit", 1),
        Layer("line", {"x": t, "y": closed}, result.closed_name, 1, dashed=True),
        Layer("line", {"x": t, "y": data}, "data", 0),
    )
