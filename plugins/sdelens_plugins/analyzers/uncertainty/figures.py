"""Figures and coloured tokens of the fit's uncertainty."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.report import Figure, Layer, Panel, Strip
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import intervals_over, line_with_band
from sdelens_plugins.analyzers.common.observed_path import ENTROPY
from sdelens_plugins.analyzers.uncertainty.association import Association
from sdelens_plugins.analyzers.uncertainty.path_noise import PathNoise
from sdelens_plugins.analyzers.uncertainty.results import UNIT, UncertaintyResults

PART_CAPTIONS = {
    "aleatoric": "the noise that the fit gives the step after each token",
    "epistemic": "the spread of the drift over ensemble members after each token",
}
BINS = 8


def figures(result: UncertaintyResults, tokens: int) -> tuple[Figure, ...]:
    """The first `tokens` of the path, its components, and the association over documents."""
    path = result.path.first(tokens)
    components = () if result.components is None else (_components(path, result.components),)
    association: tuple[Figure, ...] = ()
    if not result.association.noise_magnitudes.constant:
        association = _correlations(result.association), *_bins(result.association)
    return (*(_part(path, name) for name in path.parts), *components, *association)


def strips(path: PathNoise) -> tuple[Strip, ...]:
    """The tokens coloured by each part and by the entropy; none if tokens have no text."""
    if not path.has_words:
        return ()
    parts = [
        (f"{name} magnitude of the step after each token", size, UNIT)
        for name, size in path.parts.items()
    ]
    if path.entropy is not None:
        parts.append((ENTROPY, path.entropy, "nats"))
    return tuple(Strip(name, path.words, tuple(size.tolist()), unit) for name, size, unit in parts)


def _part(path: PathNoise, name: str) -> Figure:
    """One part with the words beside their points."""
    points = {"x": path.path.times.double(), "y": path.parts[name]}
    layers = [Layer("line", points), Layer("scatter", points)]
    if path.has_words:
        layers.append(Layer("words", points, words=path.words))
    return Figure(
        name,
        (Panel("position", f"{name} magnitude", tuple(layers)),),
        f"{path.path.span}: {PART_CAPTIONS[name]}, root mean square over standardised "
        "coordinates.",
    )


def _components(path: PathNoise, noise: Float[Tensor, "time component"]) -> Figure:
    """A heat map of the noise by token and principal component."""
    t, words = path.path.times.double(), path.words if path.has_words else ()
    columns = {
        "x": torch.arange(len(t)).double() if words else t,
        "y": torch.arange(1, noise.shape[1] + 1, dtype=torch.float64),
        "z": noise.mT,
    }
    layer = Layer("heat", columns, "noise of one step", words=words)
    return Figure(
        "components",
        (Panel("" if words else "position", "principal component", (layer,)),),
        f"{path.path.span}: the noise of the step after each token along the leading principal "
        "components of the standardised training states, in standard deviations of a "
        "standardised coordinate.",
    )


def _correlations(association: Association) -> Figure:
    """Correlations of the noise with each target, beside the range of the null."""
    names = list(association.targets)
    x = torch.arange(len(names)).double()
    rho = [association.correlations["aleatoric", name] for name in names]
    ends = torch.tensor([each.interval() for each in rho], dtype=torch.float64)
    values = torch.tensor([each.value for each in rho], dtype=torch.float64)
    bars = {"x": x, "y": values, "low": ends[:, 0], "high": ends[:, 1]}
    null = torch.stack([torch.stack(list(association.null[name].aminmax())) for name in names])
    layers = (
        Layer("bars", bars, "observed", words=tuple(names)),
        Layer("scatter", {"x": x, "y": null[:, 0]}, "null, minimum and maximum", series=1),
        Layer("scatter", {"x": x, "y": null[:, 1]}, series=1),
    )
    permutations = len(next(iter(association.null.values())))
    return Figure(
        "correlations",
        (Panel("", "rank correlation", layers),),
        "Spearman's correlation of the diffusion magnitude with each quantity, "
        f"{intervals_over(counted(association.documents, 'test document'), ends)}, and the range "
        f"of {permutations} permutations of the states within documents.",
    )


def _bins(association: Association) -> list[Figure]:
    """Means of entropy and surprisal by bin of magnitude."""
    names = [name for name in ("entropy", "surprisal") if name in association.targets]
    if not names or len(association.unit) < 2 * BINS:
        return []
    size, means = association.binned(names, BINS)
    layers = [
        layer
        for series, (name, interval) in enumerate(means.items())
        for layer in line_with_band(size, interval, name, series)
    ]
    return [
        Figure(
            "bins",
            (Panel("noise of one step (standard deviations)", "nats", tuple(layers)),),
            f"Mean entropy and surprisal of the next token in {BINS} equal bins of the diffusion "
            f"magnitude, {intervals_over('test documents', means[names[0]].low)}.",
        )
    ]
