"""Lyapunov exponents and the long run of a fit, as numbers, words and figures."""

import torch
from torch import Tensor

from sdelens.dynamics.exponents import FAR, Exponents
from sdelens.dynamics.long_run import LongRun
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.estimation.ratio import summed
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens_plugins.analyzers.common.document_means import DocumentMean

ROUNDING = 1e-6


def of_exponents(found: Exponents, region: Region) -> list[Estimate]:
    """Each with its Monte Carlo error."""
    rows = [
        Estimate(f"Lyapunov exponent {k + 1}", float(v), _seen(e), "per unit of time (simulation)")
        for k, (v, e) in enumerate(zip(found.value, found.stderr, strict=True))
    ]
    if len(found.value) == len(region.std):
        rows.append(Estimate("sum of all exponents", found.total, unit="per unit of time"))
    return rows


def _seen(error: Tensor) -> float | None:
    """An error, unless it is of float32: the frame of a linear law has nothing random."""
    return float(error) if float(error) > ROUNDING else None


def of_run(run: LongRun, region: Region, held: Sample) -> list[Estimate]:
    """How far the long run goes, beside the data."""
    size = region.size(held.x)
    data = DocumentMean.ratio(*summed(size, held.document, held.documents))
    later = run.later()
    rows = [
        Estimate(
            "escaped in the long run", float(run.escaped), unit=f"of {len(run.escape)} paths"
        ),
        Estimate("mean distance of held-out states", data.value, data.stderr, "of data's radius"),
    ]
    if len(later):
        error = float(later.std()) / len(later) ** 0.5 if len(later) > 1 else None
        unit = "of data's radius"
        rows.append(Estimate("mean distance in the long run", float(later.mean()), error, unit))
        rows.append(Estimate("furthest in the long run", run.furthest, unit=unit))
    return rows


def said(run: LongRun, found: Exponents) -> str:
    """Whether it stays, and the leading exponent."""
    leading = Estimate("", float(found.value[0]), _seen(found.stderr[0])).number
    paths = counted(len(run.escape), "path")
    if run.escaped:
        first = int(run.escape[run.escape >= 0].min())
        stays = (
            f"Of {paths} {run.escaped} left {FAR:g} radii of the data, the first in step {first:,}"
        )
    else:
        stays = (
            f"For {run.steps:,} steps all of {paths} stayed within {run.furthest:.2g} radii of "
            "the data"
        )
    return f"{stays}; the leading Lyapunov exponent is {leading} per unit of time."


def exponent_figure(found: Exponents) -> Figure:
    """Bars with 95% intervals."""
    x = torch.arange(len(found.value)).double()
    margin = 1.96 * found.stderr
    ends = {"x": x, "y": found.value, "low": found.value - margin, "high": found.value + margin}
    words = tuple(str(k + 1) for k in range(len(x)))
    panel = Panel("exponent", "per unit of time", (Layer("bars", ends, words=words),))
    return Figure(
        "exponents",
        (panel,),
        "The leading Lyapunov exponents of the fit under shared noise, with 95% Monte Carlo "
        "intervals; below zero, paths under the same noise meet.",
    )


def run_figure(run: LongRun) -> Figure:
    """Distance by step: all paths, thinned."""
    every = max(1, len(run.size) // 400)
    parts = run.size[: len(run.size) // every * every].view(-1, every * run.size.shape[1])
    x = torch.arange(len(parts)).double() * every
    gone = torch.nan_to_num(parts, nan=FAR)
    low, middle, high = gone.quantile(torch.tensor([0.05, 0.5, 0.95]).to(gone), dim=1)
    layers = (
        Layer("band", {"x": x, "low": low.log10(), "high": high.log10()}, "5 to 95%", 0),
        Layer("line", {"x": x, "y": middle.log10()}, "median path", 0),
        Layer("line", {"x": x[[0, -1]], "y": x.new_zeros(2)}, "99% of the data", 1, dashed=True),
    )
    return Figure(
        "long_run",
        (Panel("step", "log10 distance, radii of the data", layers),),
        f"Distance from the data's mean over {run.steps:,} steps of the fit, time held at its "
        f"last fitted value; one radius holds 99% of the data, and paths beyond {FAR:g} are "
        "drawn there.",
    )
