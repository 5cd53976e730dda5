"""Coverage of nominal 95% intervals over documents, by method, for docs/validation.md."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from scipy.special import ndtr, ndtri, stdtrit
from torch import Tensor

from sdelens.estimation.ratio import Ratios
from sdelens.seeds import generator

DOCUMENTS = (10, 20, 30, 50, 100)
SAMPLES = 4000
REPLICATES = 1999
TOGETHER = 1000
"""Samples that share the bootstrap's draws."""
Effects = Callable[[tuple[int, int], torch.Generator], Float[Tensor, "sample document"]]
Ends = tuple[Tensor, Tensor]


def normal(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Standard normal effects."""
    return torch.randn(shape, generator=random, dtype=torch.float64)


def heavy(shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    """Effects with Student's distribution with three degrees of freedom: no third moment."""
    return normal(shape, random) / (normal((3, *shape), random).square().sum(0) / 3).sqrt()


EFFECTS: dict[str, tuple[Effects, float]] = {
    "normal": (normal, 0.0),
    "lognormal": (lambda *given: normal(*given).exp(), math.exp(0.5)),
    "heavy tails": (heavy, 0.0),
}
"""Document effects and their mean."""


def methods(above: Tensor, below: Tensor, weights: Tensor) -> dict[str, Ends]:
    """The ends of every method for samples of documents, and bootstrap weights of these."""
    n = above.shape[-1]
    found = Ratios.of(above, below)
    value, stderr = found.value, found.stderr
    influence = above - value[:, None] * below
    drawn_below = below @ weights.mT
    drawn = (above @ weights.mT) / drawn_below
    squares, mixed, own = ((a * b) @ weights.mT for a, b in _pairs(above, below))
    spread = (squares - 2 * drawn * mixed + drawn.square() * own).clamp(min=0)
    scale = math.sqrt(n / (n - 1))
    studentised = (drawn - value[:, None]) * drawn_below / spread.sqrt() / scale
    low, high = _quantiles(studentised.nan_to_num(0), 0.025, 0.975)
    t = float(stdtrit(n - 1, 0.975))
    tail = float(ndtr(-t * scale))
    shift = influence.pow(3).mean(-1) / influence.square().mean(-1).pow(1.5) / (6 * n**0.5)
    return {
        "percentile": _quantiles(drawn, 0.025, 0.975),
        "expanded percentile": _quantiles(drawn, tail, 1 - tail),
        "BCa": _bca(drawn, value, influence),
        "studentised bootstrap": (value - high * stderr, value - low * stderr),
        "Student's t": (value - t * stderr, value + t * stderr),
        "Johnson's t": (value + (shift - t) * stderr, value + (shift + t) * stderr),
        "skewness-corrected t": found.ends(),
    }


def _pairs(above: Tensor, below: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    return (above, above), (above, below), (below, below)


def _quantiles(drawn: Tensor, low: float, high: float) -> Ends:
    first, last = drawn.quantile(torch.tensor([low, high], dtype=drawn.dtype), dim=-1)
    return first, last


def _bca(drawn: Tensor, value: Tensor, influence: Tensor) -> Ends:
    """Efron's (1987) bias-corrected and accelerated interval."""
    count = drawn.shape[-1]
    below = (drawn < value[:, None]).double().mean(-1).clamp(1 / count, 1 - 1 / count)
    bias = torch.special.ndtri(below)
    acceleration = influence.pow(3).sum(-1) / (6 * influence.square().sum(-1).pow(1.5))
    ordered = drawn.sort(-1).values

    def end(z: float) -> Tensor:
        moved = bias + z
        share = torch.special.ndtr(bias + moved / (1 - acceleration * moved))
        return ordered.gather(1, (share * (count - 1)).round().long()[:, None])[:, 0]

    z = float(ndtri(0.975))
    return end(-z), end(z)


def coverage(kind: str, documents: int, *, unequal: bool) -> dict[str, float]:
    """The share of intervals of each method that contain the mean effect."""
    effects, truth = EFFECTS[kind]
    random = generator(0, kind, documents, unequal)
    inside: dict[str, int] = {}
    for _ in range(SAMPLES // TOGETHER):
        values = effects((TOGETHER, documents), random)
        count = torch.ones_like(values)
        if unequal:  # documents of 20 to 200 transitions
            count = torch.randint(20, 201, values.shape, generator=random).double()
        draws = torch.randint(documents, (REPLICATES, documents), generator=random)
        weights = torch.zeros(REPLICATES, documents, dtype=torch.float64)
        weights.scatter_add_(1, draws, torch.ones_like(weights))
        for name, (low, high) in methods(values * count, count, weights).items():
            hit = int(((low <= truth) & (truth <= high)).sum())
            inside[name] = inside.get(name, 0) + hit
    return {name: hits / SAMPLES for name, hits in inside.items()}


def table() -> tuple[list[str], list[list[str]]]:
    """Headings and rows: coverage in percent, then the shortfall of every method."""
    rows, short = [], {}
    for unequal in (False, True):
        for kind in EFFECTS:
            for documents in DOCUMENTS:
                found = coverage(kind, documents, unequal=unequal)
                cells = [f"{100 * share:.1f}" for share in found.values()]
                label = "ratio of sums" if unequal else "mean"
                rows.append([label, kind, str(documents), *cells])
                for name, share in found.items():
                    short.setdefault(name, []).append(95 - 100 * share)
    rows.append(["worst shortfall", "", "", *(f"{max(s):.1f}" for s in short.values())])
    squares = (math.sqrt(sum(x * x for x in s) / len(s)) for s in short.values())
    rows.append(["root mean square of the error", "", "", *(f"{x:.1f}" for x in squares)])
    return ["", "document effects", "documents", *short], rows
