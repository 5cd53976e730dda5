"""Headlines, readings, estimates and arrays of the comparison of layers."""

from torch import Tensor

from sdelens.dynamics.depth_noise import LAWS, NoiseLaws
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval
from sdelens_plugins.analyzers.common.section import Section
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.layers.comparison import MEASURES, LayerComparison
from sdelens_plugins.analyzers.layers.lines_of_thought import LinesOfThought
from sdelens_plugins.analyzers.layers.surprisal_map import SurprisalMap

TOLERANCE = 0.01
"""Nats per dimension: a law that loses less than this to another describes the noise as well."""
FREE = LAWS.index("free")
READING = (
    "Each layer has its own fit, basis and scale. The gain is over the best of random walk, "
    "random walk with drift and i.i.d. states per position, with noise of the same kind; at a "
    "layer whose gain is zero, the state does not help the prediction. The increment R² of the "
    "random walk is 0. The noise of one step is in standard deviations of the layer's "
    "coordinates; where it lies below the held-out residuals, the law is overconfident. A "
    "spectral radius of the mean map below one means that small deviations die out along the "
    "text. It describes the linearisation at the mean state, not states far from it or transient "
    "growth. Layers share their documents, so neighbouring intervals rise and fall together: "
    "overlapping intervals do not show that layers are equal. Differences between layers are "
    "differences of the fits: a layer may move more regularly because it does less."
)
DEPTH_READING = (
    "A path is the state of one token from the embedding (depth 0) through every block. Documents "
    "are the sample, since the tokens of one document are not independent. Each step has its own "
    "linear map, fitted by ridge regression of the increment. Its polar decomposition gives a "
    "stretch, by which deviations from a layer's mean grow, and a rotation, the angle by which "
    "they turn. Both are averages over the observed states, so directions without variance do not "
    "count. The null is a map fitted to increments that were exchanged between tokens: its "
    "stretch and rotation are due to chance. The noise is the part of the next state that the map "
    "does not predict. A model is a function: given all previous tokens, nothing in it is random, "
    "so this noise is the effect of attention and of the nonlinearity that the state of the "
    "current token does not determine. The laws of the noise are compared by the likelihood of "
    "isotropic residuals, which is dominated by the coordinates of largest variance. A law holds "
    f"if noise that is free at every depth gains less than {TOLERANCE:g} nats per dimension with "
    "95% confidence; variances wrong by a fifth would cost that much, and a smaller loss is "
    "possible. The step out of the embedding differs from the others, since the state has no "
    "context there; the laws are also fitted without it. With few blocks an exponential and a "
    "power law are hard to distinguish; a law that is not rejected need not be the mechanism. The "
    "error of an exponent is over documents, not over the scatter of blocks about the curve. "
    "Sarfati et al. (2025) report an exponent of 0.18 per block for GPT-2; their law describes "
    "the variance at the end of a step, and a diffusion with that diffusivity would have a "
    "smaller one. The null of the exponent is the same variances in random order of depth."
)


def comparison_results(comparison: LayerComparison) -> Section:
    """Results for several layers along the token axis."""
    gain = comparison.measure("gain")
    most, least = int(gain.value.argmax()), int(gain.value.argmin())
    headline = (
        f"The gain over the best baseline is largest at {comparison.names[most]} "
        f"({with_interval(gain[most])} {NATS}) and smallest at {comparison.names[least]} "
        f"({with_interval(gain[least])})."
    )
    rows = [Estimate("held-out documents", float(comparison.documents), unit="the sample size")]
    for name, layer in zip(comparison.names, comparison.layers, strict=True):
        rows.append(estimate(f"{name}: gain over {layer.rival}", layer.gain, NATS))
        rows.append(estimate(f"{name}: increment R²", layer.r2, ""))
        if comparison.has_radius:
            rows.append(estimate(f"{name}: spectral radius", layer.radius, ""))
    arrays = prefixed(**{name: comparison.measure(name).tensors() for name in MEASURES})
    return Section(headline, tuple(rows), arrays | {"layer": comparison.x}, READING)


def depth_results(lines: LinesOfThought) -> Section:
    """Results for paths through the depth."""
    headline = (
        "The logarithm of the noise variance grows by "
        f"{with_interval(lines.laws.slope)} per block, and the exponential law "
        f"{judgement(lines.laws)}."
    )
    rotation, stretch = (float(i.value.median()) for i in (lines.rotation, lines.stretch))
    median = (
        f"The median block rotates states by {rotation:.0f} degrees and stretches them by a "
        f"factor of {stretch:.2f}. "
    )
    if lines.later:
        median += f"After the first block the exponential law {judgement(lines.later)}. "
    return Section(headline, _depth_estimates(lines), _depth_arrays(lines), median + DEPTH_READING)


def judgement(laws: NoiseLaws) -> str:
    """Whether the exponential law predicts as well as a free curve, with 95% confidence."""
    loss = laws.gain[FREE]
    if float(loss.low) > TOLERANCE:
        return "does not hold"
    holds = float(loss.high) < TOLERANCE
    return "holds" if holds else "may or may not hold"


def _depth_estimates(lines: LinesOfThought) -> tuple[Estimate, ...]:
    unit = "documents, the sample size"
    rows = [
        Estimate("training", float(lines.documents[0]), unit=unit),
        Estimate("held out", float(lines.documents[1]), unit=unit),
        *_law_estimates(lines.laws, ""),
        *(_law_estimates(lines.later, " after the first block") if lines.later else ()),
    ]
    measures = {
        "stretch": (lines.stretch, ""),
        "rotation": (lines.rotation, "degrees"),
        "noise variance per coordinate": (lines.variance, ""),
        "increment R² of its own map": (lines.r2, ""),
        "increment R² of the run's fit": (lines.fit_r2, ""),
    }
    # the arrays have every step; the table has the first, the middle and the last
    steps = sorted({0, len(lines.x) // 2, len(lines.x) - 1})
    for name, (interval, unit) in measures.items():
        rows += [estimate(f"depth {k + 1}: {name}", interval[k], unit) for k in steps]
    return tuple(rows)


def _law_estimates(laws: NoiseLaws, suffix: str) -> list[Estimate]:
    """Exponents, their null, and the gains of other laws."""
    rows = [
        estimate(f"exponent of the exponential law{suffix}", laws.slope, "per block"),
        estimate(f"exponent of the power law{suffix}", laws.power, ""),
        Estimate(f"random orders of depth with as large an exponent{suffix}", laws.chance),
    ]
    for number, name in enumerate(LAWS[1:], start=1):
        gain = laws.gain[number]
        rows.append(estimate(f"gain of {name} over exponential noise{suffix}", gain, NATS))
    return rows


def _depth_arrays(lines: LinesOfThought) -> dict[str, Tensor]:
    """All arrays but the maps, which can be fitted again to the run's states."""
    arrays = prefixed(
        stretch=lines.stretch.tensors(),
        rotation=lines.rotation.tensors(),
        variance=lines.variance.tensors(),
        r2=lines.r2.tensors(),
        fit_r2=lines.fit_r2.tensors(),
        gain=lines.laws.gain.tensors(),
    ) | {
        "depth": lines.x,
        "factors": lines.maps.factors,
        "null.stretch": lines.null.stretch,
        "null.rotation": lines.null.rotation,
        "laws.log_variance": lines.laws.log_variance,
        "share": lines.noise_share,
    }
    return arrays | ({"later.log_variance": lines.later.log_variance} if lines.later else {})


def map_arrays(surprisal: SurprisalMap) -> dict[str, Tensor]:
    """The map of surprisal and its axes."""
    axes = {"map.layer": surprisal.rows, "map.position": surprisal.positions}
    return {"map.nats": surprisal.nats} | axes
