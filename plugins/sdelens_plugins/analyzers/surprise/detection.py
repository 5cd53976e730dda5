"""Surprisal and perplexity as out-of-distribution detectors, over the same documents."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.auroc import Scores, as_they_are, auroc, interval
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.seeds import derive
from sdelens_plugins.analyzers.surprise.comparison_texts import TEST, ComparisonTexts

SCORES = ("fit", "model")


@dataclass(frozen=True, eq=False)
class Detection:
    """AUROC of each kind of text against test documents, by the fit and by the model."""

    kinds: Mapping[str, ComparisonTexts]
    fit: Mapping[str, Interval]
    model: Mapping[str, Interval]
    lead: Mapping[str, Interval]
    """The fit's area less the model's, paired."""

    @classmethod
    def of(cls, kinds: Mapping[str, ComparisonTexts], *, seed: int) -> "Detection":
        reference = kinds[TEST]
        reference_weights = _weights(reference, seed)
        fit, model, lead = {}, {}, {}
        for name, texts in kinds.items():
            if name == TEST:
                continue
            paired = texts.paired
            weights = reference_weights if paired else _weights(texts, derive(seed, name))
            fit_area, model_area = (
                auroc(_scores(reference, score, reference_weights), _scores(texts, score, weights))
                for score in SCORES
            )
            n = int(min(each.fit.isfinite().sum() for each in (reference, texts)))
            fit[name], model[name] = interval(fit_area, n), interval(model_area, n)
            lead[name] = interval(fit_area - model_area, n, least=-1.0)
        return cls(kinds, fit, model, lead)

    @property
    def names(self) -> list[str]:
        """The kinds compared with test documents."""
        return list(self.fit)


def _weights(texts: ComparisonTexts, seed: int) -> Float[Tensor, "replicate document"]:
    """How often each text is drawn; texts without a transition are never drawn."""
    known = texts.fit.isfinite().double()
    count = torch.zeros(int(texts.unit.max()) + 1, dtype=torch.float64)
    bootstrap = Bootstrap.of(count.index_add(0, texts.unit, known), seed=seed)
    return as_they_are(bootstrap)[:, texts.unit] * known


def _scores(
    texts: ComparisonTexts, score: str, weights: Float[Tensor, "replicate document"]
) -> Scores:
    values: Tensor = getattr(texts, score)
    return Scores(values.nan_to_num(), weights)
