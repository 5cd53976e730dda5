"""Agreement of importance measures with occlusion, by Kendall's tau."""

from dataclasses import dataclass

import torch

from sdelens.evidence.rank_correlation import by_chance, chance_of, kendall
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.importance.measures import (
    ImportanceMeasures,
)

TRUTH = "drift.occlusion"
"""What the rankings are held against: what happens to the drift without the token."""


DRAWS = 200


@dataclass(frozen=True, eq=False)
class Agreement:
    """Kendall's tau of a measure with occlusion of the drift."""

    tau: DocumentMean
    chance: float
    """A tau beyond this, up or down, comes about in one shuffling out of twenty."""
    p: float


def agreement(many: ImportanceMeasures, seed: int) -> dict[str, Agreement]:
    """Of every other measure, by size; none where there is no order to compare."""
    rows = torch.arange(len(many.at))
    truth = many.measures[TRUTH].abs()
    found = {}
    for name, values in many.measures.items():
        tau = kendall(values.abs(), truth, many.seen)
        if name == TRUTH or not tau.isfinite().any():
            continue
        mean = DocumentMean.of(tau, rows)
        own = derive(seed, name)
        draws = by_chance(values.abs(), truth, many.seen, draws=DRAWS, seed=own)
        found[name] = Agreement(
            mean, float(draws.abs().quantile(0.95)), chance_of(mean.value, draws)
        )
    return found
