"""Whether states and residuals stay as large as in training, along unlike texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Viewed
from sdelens.language.surprisal import Surprisal
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Panel
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.intervals import estimate, line_with_band
from sdelens_plugins.analyzers.surprise.comparison_texts import ComparisonTexts

REFERENCE = 64
"""Training documents that sizes are relative to."""
PARTS = {"state": "norm of states", "residual": "norm of residuals"}


@dataclass(frozen=True, eq=False)
class Stability:
    """Root mean squares relative to training, over all positions and along the text."""

    overall: Mapping[str, Mapping[str, Interval]]
    """By part and kind of text."""
    along: Mapping[str, Mapping[str, Interval]]
    positions: Float[Tensor, " bin"]

    @classmethod
    def of(
        cls, viewed: Viewed, kinds: Mapping[str, ComparisonTexts], *, bins: int, seed: int
    ) -> "Stability":
        train = Surprisal.of(viewed.fitted, viewed.train.select(_first(viewed)))
        every = torch.cat([texts.surprise.position for texts in kinds.values()])
        shares = torch.linspace(0, 1, bins + 1, dtype=every.dtype)
        # a sample of a large tensor has the same quantiles, and torch takes no more than 2^24
        edges = torch.unique(every[:: max(1, len(every) // 2**20)].quantile(shares))[1:-1]
        place = torch.bucketize(every, edges, right=True)
        cells = len(edges) + 1
        positions = by_unit(every, place, cells) / by_unit(torch.ones_like(every), place, cells)
        overall: dict[str, dict[str, Interval]] = {part: {} for part in PARTS}
        along: dict[str, dict[str, Interval]] = {part: {} for part in PARTS}
        for name, texts in kinds.items():
            for part in PARTS:
                level = float(getattr(train, part).mean())
                whole = _relative(texts, part, level, edges, derive(seed, name))
                overall[part][name], along[part][name] = whole[0], whole[1:]
        return cls(overall, along, positions)

    def estimates(self) -> tuple[Estimate, ...]:
        return tuple(
            estimate(f"{PARTS[part]}, {name}", interval, "of training's")
            for part, kinds in self.overall.items()
            for name, interval in kinds.items()
        )

    def arrays(self) -> dict[str, Tensor]:
        named = {"stability.position": self.positions}
        for part, kinds in self.along.items():
            for name, interval in kinds.items():
                key = f"stability.{part}.{name.replace(' ', '_')}"
                named |= prefixed(**{key: interval.tensors()})
        return named

    def figures(self) -> tuple[Figure, ...]:
        panels = []
        for part, kinds in self.along.items():
            layers = [
                layer
                for series, (name, interval) in enumerate(kinds.items())
                for layer in line_with_band(self.positions, interval, name, series)
            ]
            panels.append(Panel("position", f"{PARTS[part]} over training's", tuple(layers)))
        return (
            Figure(
                "stability",
                tuple(panels),
                "Root mean squares of standardised states (about the training mean) and of "
                "one-step residuals, relative to those of training documents, by position, with "
                "95% intervals over documents.",
            ),
        )


def _relative(
    texts: ComparisonTexts, part: str, level: float, edges: Float[Tensor, " edge"], seed: int
) -> Interval:
    """The root of the mean square over that of training: of all positions, then of each bin."""
    surprise, cells, units = texts.surprise, len(edges) + 1, int(texts.unit.max()) + 1
    place = torch.bucketize(surprise.position, edges, right=True)
    cell = texts.unit[surprise.document] * cells + place
    values: Tensor = getattr(surprise, part)
    count, sums = (
        by_unit(each, cell, units * cells).reshape(units, cells).mT
        for each in (torch.ones_like(values), values)
    )
    count, sums = (torch.cat([each.sum(0, keepdim=True), each]) for each in (count, sums))
    found = Bootstrap.of(count[0], seed=seed).ratio(sums / level, count)
    return found.sqrt()


def _first(viewed: Viewed) -> list[int]:
    """The first training documents."""
    numbers = (int(d) for block in viewed.train for d in block.document)
    return list(islice(numbers, REFERENCE))
