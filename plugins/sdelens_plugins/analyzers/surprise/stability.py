"""Norms of states and residuals along comparison texts, relative to training."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Viewed
from sdelens.language.surprisal import Surprisal
from sdelens_plugins.analyzers.surprise.comparison_texts import ComparisonTexts

REFERENCE_DOCUMENTS = 64
"""Training documents that norms are relative to."""
PARTS = ("state", "residual")


@dataclass(frozen=True, eq=False)
class Stability:
    """Root mean squares relative to training, over all positions and by position."""

    overall: Mapping[str, Mapping[str, Interval]]
    """By part and kind of text."""
    by_position: Mapping[str, Mapping[str, Interval]]
    """The same in bins of positions."""
    positions: Float[Tensor, " bin"]

    @classmethod
    def of(cls, viewed: Viewed, kinds: Mapping[str, ComparisonTexts], *, bins: int) -> "Stability":
        train = Surprisal.of(viewed.fitted, viewed.train.select(_first_documents(viewed)))
        position = torch.cat([texts.surprise.position for texts in kinds.values()])
        shares = torch.linspace(0, 1, bins + 1, dtype=position.dtype)
        # a sample of a large tensor has the same quantiles, and torch takes no more than 2^24
        sample = position[:: max(1, len(position) // 2**20)]
        edges = torch.unique(sample.quantile(shares))[1:-1]
        index, count = torch.bucketize(position, edges, right=True), len(edges) + 1
        positions = by_unit(position, index, count) / by_unit(
            torch.ones_like(position), index, count
        )
        overall: dict[str, dict[str, Interval]] = {part: {} for part in PARTS}
        by_position: dict[str, dict[str, Interval]] = {part: {} for part in PARTS}
        for name, texts in kinds.items():
            for part in PARTS:
                level = float(getattr(train, part).mean())
                ratios = _relative(texts, part, level, edges)
                overall[part][name], by_position[part][name] = ratios[0], ratios[1:]
        return cls(overall, by_position, positions)


def _relative(
    texts: ComparisonTexts, part: str, level: float, edges: Float[Tensor, " edge"]
) -> Interval:
    """The root mean square over that of training: of all positions, then of each bin."""
    surprise, bins, units = texts.surprise, len(edges) + 1, int(texts.unit.max()) + 1
    index = torch.bucketize(surprise.position, edges, right=True)
    cell = texts.unit[surprise.document] * bins + index
    values: Tensor = getattr(surprise, part)
    count, sums = (
        rearrange(by_unit(each, cell, units * bins), "(unit bin) -> bin unit", unit=units)
        for each in (torch.ones_like(values), values)
    )
    count, sums = (torch.cat([each.sum(0, keepdim=True), each]) for each in (count, sums))
    return Interval.ratio(sums / level, count).sqrt()


def _first_documents(viewed: Viewed) -> list[int]:
    """The numbers of the first training documents."""
    numbers = (int(d) for block in viewed.train for d in block.document)
    return list(islice(numbers, REFERENCE_DOCUMENTS))
