"""Figures of layers along the text, of paths through the depth, and of surprisal by token."""

import torch

from sdelens.dynamics.depth_noise import LAWS
from sdelens.report import Figure, Layer, Panel
from sdelens_plugins.analyzers.common.intervals import bars, intervals_over, line_with_band
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.layers.comparison import LayerComparison
from sdelens_plugins.analyzers.layers.lines_of_thought import LinesOfThought
from sdelens_plugins.analyzers.layers.surprisal_map import SurprisalMap

DEPTH = "depth of arrival"


def heatmap(surprisal: SurprisalMap) -> Figure:
    """A heat map of layer by token, with the words below."""
    x = torch.arange(len(surprisal.words)).double()
    values = {"x": x, "y": surprisal.rows.double(), "z": surprisal.nats}
    words = tuple(word if len(word) < 10 else f"{word[:8]}…" for word in surprisal.words)
    panel = Panel("", surprisal.label, (Layer("heat", values, NATS, words=words),))
    caption = (
        f"{surprisal.name[0].upper()}{surprisal.name[1:]}, {len(words)} tokens: minus the log "
        "density of the step that arrives at each state, per dimension, in coordinates "
        "standardised on training. High values are steps that the fit did not expect."
    )
    return Figure("tokens", (panel,), caption)


def comparison_figures(comparison: LayerComparison) -> tuple[Figure, ...]:
    """Gain and increment R² by layer, and noise and stability by layer."""
    return _gains(comparison), _motion(comparison)


def _measure(
    comparison: LayerComparison, name: str, label: str = "", series: int = 0
) -> tuple[Layer, ...]:
    return line_with_band(comparison.x, comparison.measure(name), label, series)


def _gains(comparison: LayerComparison) -> Figure:
    gain, r2 = (_measure(comparison, name) for name in ("gain", "r2"))
    zero = Layer("line", {"x": comparison.x, "y": 0 * comparison.x}, "", 5, dashed=True)
    panels = (
        Panel(comparison.label, f"gain, {NATS}", (*gain, zero), "Gain"),
        Panel(comparison.label, "share explained", (*r2, zero), "Increment R²"),
    )
    documents = f"{comparison.documents:,} held-out documents"
    drawn = intervals_over(documents, comparison.measure("gain").low)
    caption = (
        "Gain of the fit over the best baseline, and the share of the squared increments that its "
        f"mean explains, by layer, {drawn}. The dashed line is the baseline on the left and the "
        "random walk on the right."
    )
    return Figure("layers", panels, caption)


def _motion(comparison: LayerComparison) -> Figure:
    noise = (
        *_measure(comparison, "noise", "noise of the fit"),
        *_measure(comparison, "residual", "held-out residuals", 1),
    )
    panels = [Panel(comparison.label, "standard deviations a step", noise, "Noise of one step")]
    caption = (
        "Root mean square of the fit's noise and of held-out residuals in the standardised "
        "coordinates of each layer, "
        f"{intervals_over('documents', comparison.measure('noise').low)}."
    )
    if comparison.has_radius:
        one = Layer("line", {"x": comparison.x, "y": 0 * comparison.x + 1}, "", 5, dashed=True)
        radius = (*_measure(comparison, "radius"), one)
        panels.append(Panel(comparison.label, "spectral radius", radius, "Stability"))
        caption += _radius_caption(comparison)
    return Figure("motion", tuple(panels), caption)


def _radius_caption(comparison: LayerComparison) -> str:
    error = "with 95% intervals from fits to other samples of the training documents"
    if not comparison.measure("radius").stderr.isfinite().any():
        error = "without intervals, which need a fit with --ensemble 5"
    return f" Right: the spectral radius, {error}. Below the dashed line deviations die out."


def depth_figures(lines: LinesOfThought) -> tuple[Figure, ...]:
    """Stretch and rotation, the noise with its laws, and the comparison of laws."""
    return _maps(lines), _noise(lines), _laws(lines)


def _maps(lines: LinesOfThought) -> Figure:
    tails = torch.tensor([0.1, 0.9], dtype=torch.float64)
    low, high = lines.maps.factors.quantile(tails, dim=-1)
    factors = Layer("band", {"x": lines.x, "low": low, "high": high}, "80% of factors", 4)
    stretch, rotation = (
        line_with_band(lines.x, interval, "map of each step", 0)
        for interval in (lines.stretch, lines.rotation)
    )
    null_stretch, null_rotation = (
        Layer("line", {"x": lines.x, "y": y}, "increments exchanged", 1, dashed=True)
        for y in (lines.null.stretch, lines.null.rotation)
    )
    panels = (
        Panel(DEPTH, "factor", (factors, *stretch, null_stretch), "Stretch", y_scale="log"),
        Panel(DEPTH, "degrees", (*rotation, null_rotation), "Rotation"),
    )
    return Figure(
        "maps",
        panels,
        "Stretch and rotation of deviations from the mean state by each block, "
        f"{intervals_over('training documents', lines.rotation.low)}; the wide band contains the "
        "middle 80% of the stretch factors of all directions. Dashed: maps of increments "
        "exchanged between tokens.",
    )


def _noise(lines: LinesOfThought) -> Figure:
    logs = {name: lines.laws.log_variance[row].exp() for row, name in enumerate(LAWS)}
    values = {"x": lines.x, "y": lines.variance.value}
    ends = {"x": lines.x, "low": lines.variance.low, "high": lines.variance.high}
    fits = [
        Layer("line", {"x": lines.x, "y": logs[name]}, f"{name} law", series, dashed=series > 1)
        for series, name in enumerate(("exponential", "power"), start=1)
    ]
    if lines.later:
        later = {"x": lines.x[1:], "y": lines.later.log_variance[0].exp()}
        fits.append(Layer("line", later, "exponential, after the first", 3, dashed=True))
    points = (Layer("band", ends), Layer("scatter", values, "held-out residuals"), *fits)
    share = Layer("line", {"x": lines.x, "y": lines.noise_share}, "")
    panels = (
        Panel(DEPTH, "variance per coordinate", points, "Noise", y_scale="log"),
        Panel(DEPTH, "share of the states' variance", (share,), "Relative noise"),
    )
    return Figure(
        "noise",
        panels,
        "Left: the noise variance by depth, on a logarithmic axis, "
        f"{intervals_over('held-out documents', lines.variance.low)}, and the laws fitted to "
        "training documents. An exponential law is a straight line. Right: the same variance "
        "relative to that of the states there.",
    )


def _laws(lines: LinesOfThought) -> Figure:
    words = [f"{name} law" if name != "free" else "free curve" for name in LAWS[1:]]
    r2 = (
        *line_with_band(lines.x, lines.r2, "map of each step", 0),
        *line_with_band(lines.x, lines.fit_r2, "the run's fit", 1),
    )
    panels = (
        Panel("", f"gain, {NATS}", (bars(lines.laws.gain[1:], words),), "Over exponential"),
        Panel(DEPTH, "share explained", r2, "Increment R²"),
    )
    return Figure(
        "laws",
        panels,
        "Held-out gain of other laws of the noise over the exponential one, and the share of "
        f"the squared increments that is explained, {intervals_over('documents', lines.r2.low)}.",
    )
