"""Figures of the drift condition, the Lyapunov exponents and the long run."""

import torch
from einops import rearrange

from sdelens.dynamics.exponents import FAR, Exponents
from sdelens.dynamics.long_run import LongRun
from sdelens.evidence.interval import Interval
from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.analyzers.common.intervals import (
    bars,
    intervals_over,
    line_with_band,
    percent,
)
from sdelens_plugins.analyzers.stability.drift_condition import SHELLS, DriftConditionCheck
from sdelens_plugins.analyzers.stability.results import StabilityResults

STEPS = 400
"""Points along the long run."""


def figures(result: StabilityResults) -> tuple[Figure, ...]:
    """Drift condition, exponents, long run."""
    return (
        _drift_condition(result.condition),
        _exponents(result.exponents),
        _long_run(result.run),
    )


def _drift_condition(condition: DriftConditionCheck) -> Figure:
    """KV against V, and the shares of states that fail."""
    ends = torch.stack([condition.v.min(), condition.shell_v.max()]).clamp(min=1e-12)
    low, high = ends.log10().tolist()
    x = torch.logspace(low, high, 100, dtype=torch.float64)
    bound = (1 - condition.rule.rate) * x + condition.rule.offset
    shells, held_out = (
        {"x": v, "y": kv}
        for v, kv in (
            (condition.shell_v.ravel()[::3], condition.shell_kv.ravel()[::3]),
            (condition.v, condition.kv),
        )
    )
    layers = (
        Layer("scatter", shells, "on shells", series=4),
        Layer("scatter", held_out, "held-out", 0),
        Layer("line", {"x": x, "y": bound}, "condition", series=1),
        Layer("line", {"x": x, "y": x}, "no change", series=2, dashed=True),
    )
    radii = torch.tensor(SHELLS)
    with_data = torch.cat([torch.ones(1), radii])
    shares = (
        *line_with_band(with_data, percent(condition.rising), "V rises", 3),
        *line_with_band(radii, percent(condition.shell_broken), "condition broken", 1),
    )
    return Figure(
        "drift_condition",
        (
            Panel(
                *("V(x)", "KV(x)", layers, "One step's expectation"),
                x_scale="log",
                y_scale="log",
            ),
            Panel("radii of the data (1: held-out states)", "percent", shares, "Shares"),
        ),
        "The Lyapunov function before a step and its expectation after, at held-out states and on "
        "shells around the data; the drift condition is broken above its line. Right: the shares "
        "of states where V rises and where the condition is broken, "
        f"{intervals_over('documents', condition.rising.low)}.",
    )


def _exponents(exponents: Exponents) -> Figure:
    """Bars with 95% intervals."""
    margin = 1.96 * exponents.stderr
    interval = Interval(
        exponents.value, exponents.stderr, exponents.value - margin, exponents.value + margin
    )
    words = [str(k + 1) for k in range(len(exponents.value))]
    return Figure(
        "exponents",
        (Panel("exponent", "per unit of time", (bars(interval, words),)),),
        "The leading Lyapunov exponents of the fit under shared noise, with 95% Monte Carlo "
        "intervals; below zero, paths under the same noise converge.",
    )


def _long_run(run: LongRun) -> Figure:
    """Quantiles of the distance of all paths, over blocks of steps."""
    every = max(1, len(run.size) // STEPS)
    whole = run.size[: len(run.size) // every * every]
    blocks = rearrange(whole, "(block step) path -> block (step path)", step=every)
    x = torch.arange(len(blocks)).double() * every
    blocks = torch.nan_to_num(blocks, nan=FAR)
    low, middle, high = blocks.quantile(torch.tensor([0.05, 0.5, 0.95]).to(blocks), dim=1)
    layers = (
        Layer("band", {"x": x, "low": low, "high": high}, "5 to 95%", 0),
        Layer("line", {"x": x, "y": middle}, "median path", 0),
        Layer("line", {"x": x[[0, -1]], "y": x.new_ones(2)}, "99% of the data", 1, dashed=True),
    )
    return Figure(
        "long_run",
        (Panel("step", "distance, radii of the data", layers, y_scale="log"),),
        f"Distance from the data's mean over {run.steps:,} steps of the fit, with time fixed at "
        "the last fitted value. One radius holds 99% of the data; paths beyond "
        f"{FAR:g} radii are drawn there.",
    )
