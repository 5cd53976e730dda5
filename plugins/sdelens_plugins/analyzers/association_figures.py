"""Rank correlations of the noise, and what goes with large noise, as figures."""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.language.rank_correlation import Correlation
from sdelens.report import Figure, Layer, Panel, counted
from sdelens_plugins.analyzers.section import course

if TYPE_CHECKING:
    from sdelens_plugins.analyzers.association import Association

BINS = 8


def correlations(of: "Association") -> Figure:
    """Of the diffusion magnitude with each quantity, beside the range of the null."""
    names = list(of.targets)
    x = torch.arange(len(names)).double()
    rho = [of.found["aleatoric", name] for name in names]
    ends = torch.tensor([each.interval() for each in rho], dtype=torch.float64)
    bars = {"x": x, "y": _values(rho), "low": ends[:, 0], "high": ends[:, 1]}
    null = torch.stack([torch.stack(list(of.null[name].aminmax())) for name in names])
    layers = (
        Layer("bars", bars, "as observed", words=tuple(names)),
        Layer("scatter", {"x": x + 0.25, "y": null[:, 0]}, "null, least and most", series=1),
        Layer("scatter", {"x": x + 0.25, "y": null[:, 1]}, series=1),
    )
    permutations = len(next(iter(of.null.values())))
    return Figure(
        "correlations",
        (Panel("", "rank correlation", layers),),
        "Spearman's correlation of the diffusion magnitude with each quantity, with 95% "
        f"intervals over {counted(of.documents, 'test document')}, and the range of "
        f"{permutations} permutations of the states within documents.",
    )


def by_magnitude(of: "Association") -> tuple[Figure, ...]:
    """Means of entropy and surprisal by bin of magnitude."""
    names = [name for name in ("entropy", "surprisal") if name in of.targets]
    if not names or len(of.unit) < 2 * BINS:
        return ()
    size, units = of.magnitudes.aleatoric, int(of.unit.max()) + 1
    edges = size.quantile(torch.linspace(0, 1, BINS + 1, dtype=size.dtype))
    bin_ = torch.bucketize(size, edges[1:-1].contiguous())
    cell = of.unit * BINS + bin_
    count, total = (
        by_unit(values, cell, units * BINS).reshape(units, BINS).mT
        for values in (torch.ones_like(size), size)
    )
    bootstrap = Bootstrap.of(count.sum(0), seed=0, replicates=1000)
    layers: list[Layer] = []
    for series, name in enumerate(names):
        sums = by_unit(of.targets[name], cell, units * BINS).reshape(units, BINS).mT
        layers += course(total.sum(1) / count.sum(1), bootstrap.ratio(sums, count), name, series)
    return (
        Figure(
            "bins",
            (Panel("noise of one step (standard deviations)", "nats", tuple(layers)),),
            f"Mean entropy and surprisal of the next token in {BINS} equal bins of the "
            "diffusion magnitude, with 95% intervals over test documents.",
        ),
    )


def _values(found: list[Correlation]) -> Float[Tensor, " series"]:
    return torch.tensor([each.value for each in found], dtype=torch.float64)
