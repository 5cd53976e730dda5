"""Agreement of importance measures with occlusion, by Kendall's tau."""

from dataclasses import dataclass

import torch

from sdelens.evidence.rank_correlation import by_chance, chance_of, kendall
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.importance.measures import ImportanceMeasures

REFERENCE = "drift.occlusion"
"""The measure to which the others are compared: the change of the drift without the token."""
DRAWS = 200
"""Shufflings that give the distribution by chance."""
# the random streams of two measures have other names, which keeps their results reproducible
STREAMS = {"attention_received": "received", "attention_from_last": "looked"}


@dataclass(frozen=True, eq=False)
class Agreement:
    """Kendall's tau of a measure with occlusion of the drift."""

    tau: DocumentMean
    chance: float
    """The absolute tau that 5% of shuffled rankings exceed."""
    p: float


def agreements(measures: ImportanceMeasures, seed: int) -> dict[str, Agreement]:
    """The agreement of every other measure by absolute value; none without an order to compare."""
    rows = torch.arange(len(measures.at))
    reference = measures.values[REFERENCE].abs()
    agreements = {}
    for name, values in measures.values.items():
        tau = kendall(values.abs(), reference, measures.compared)
        if name == REFERENCE or not tau.isfinite().any():
            continue
        mean = DocumentMean.of(tau, rows)
        stream = derive(seed, STREAMS.get(name, name))
        draws = by_chance(values.abs(), reference, measures.compared, draws=DRAWS, seed=stream)
        chance = float(draws.abs().quantile(0.95))
        agreements[name] = Agreement(mean, chance, chance_of(mean.value, draws))
    return agreements
