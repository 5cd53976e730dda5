"""Two scores as detectors of unlike texts, over the same documents."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.auroc import Scores, as_they_are, auroc, interval
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.intervals import bars, estimate
from sdelens_plugins.analyzers.surprise.comparison_texts import USUAL, ComparisonTexts

SCORES = ("fit", "model")


@dataclass(frozen=True, eq=False)
class Detection:
    """AUROC of each kind of text against test documents."""

    kinds: Mapping[str, ComparisonTexts]
    fit: Mapping[str, Interval]
    model: Mapping[str, Interval]
    lead: Mapping[str, Interval]
    """The fit's area less the model's, paired."""

    @classmethod
    def of(cls, kinds: Mapping[str, ComparisonTexts], *, seed: int) -> "Detection":
        weights = _weights(kinds[USUAL], seed)
        fit, model, lead = {}, {}, {}
        for name, texts in kinds.items():
            if name == USUAL:
                continue
            own = weights if texts.paired else _weights(texts, derive(seed, name))
            ours, theirs = (
                auroc(_scores(kinds[USUAL], score, weights), _scores(texts, score, own))
                for score in SCORES
            )
            known = (t.fit.isfinite().sum() for t in (kinds[USUAL], texts))
            n = int(min(known))
            fit[name], model[name] = interval(ours, n), interval(theirs, n)
            lead[name] = interval(ours - theirs, n, least=-1.0)
        return cls(kinds, fit, model, lead)

    @property
    def names(self) -> list[str]:
        """The kinds compared with test documents."""
        return list(self.fit)

    def estimates(self) -> tuple[Estimate, ...]:
        rows = []
        for name, texts in self.kinds.items():
            for score, unit in (("fit", "nats per dimension"), ("model", "nats per token")):
                values = getattr(texts, score)
                values = values[values.isfinite()]
                error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None
                who = "the fit" if score == "fit" else "the model"
                rows.append(
                    Estimate(f"surprise of {who}, {name}", float(values.mean()), error, unit)
                )
        for name in self.names:
            rows.append(estimate(f"AUROC of the fit, {name}", self.fit[name], ""))
            rows.append(estimate(f"AUROC of perplexity, {name}", self.model[name], ""))
            rows.append(
                estimate(f"AUROC of the fit less perplexity's, {name}", self.lead[name], "")
            )
        return tuple(rows)

    def arrays(self) -> dict[str, Tensor]:
        named: dict[str, Tensor] = {}
        for name, texts in self.kinds.items():
            key = name.replace(" ", "_")
            named |= {f"score.{key}.fit": texts.fit, f"score.{key}.model": texts.model}
        for score in SCORES:
            for name, area in getattr(self, score).items():
                key = f"auroc.{name.replace(' ', '_')}.{score}"
                named |= prefixed(**{key: area.tensors()})
        return named

    def figures(self) -> tuple[Figure, ...]:
        return self._areas(), self._documents()

    def _areas(self) -> Figure:
        words = self.names
        ends = torch.tensor([-0.5, len(words) - 0.5]).double()
        chance = Layer("line", {"x": ends, "y": torch.full((2,), 0.5)}, "chance", 1, dashed=True)
        panels = tuple(
            Panel(
                "",
                "AUROC",
                (bars(Interval.stack(getattr(self, score).values()), words), chance),
                title,
            )
            for score, title in (("fit", "Fit"), ("model", "Perplexity of the model"))
        )
        return Figure(
            "auroc",
            panels,
            "How well nats per token tell each kind of text from test documents, with 95% "
            "intervals over documents: under the fit, and of the tokens under the language model.",
        )

    def _documents(self) -> Figure:
        altered = [name for name, texts in self.kinds.items() if texts.paired]
        other = [name for name, texts in self.kinds.items() if not texts.paired]
        panels = tuple(
            Panel(
                "model, nats per token",
                "fit, nats per dimension",
                tuple(
                    Layer("scatter", {"x": self.kinds[k].model, "y": self.kinds[k].fit}, k, series)
                    for series, k in enumerate(self.kinds)
                    if k in names
                ),
                title,
            )
            for title, names in (
                ("Altered test documents", altered),
                ("Other texts", [USUAL, *other]),
            )
            if len(names) > 1
        )
        return Figure(
            "documents",
            panels,
            "Each point is one text: its mean surprise under the fit, over that of its tokens "
            "under the language model.",
        )


def _weights(texts: ComparisonTexts, seed: int) -> Float[Tensor, "replicate document"]:
    """How often each text is drawn; those without a transition are not."""
    known = texts.fit.isfinite().double()
    count = torch.zeros(int(texts.unit.max()) + 1, dtype=torch.float64)
    bootstrap = Bootstrap.of(count.index_add(0, texts.unit, known), seed=seed)
    return as_they_are(bootstrap)[:, texts.unit] * known


def _scores(
    texts: ComparisonTexts, score: str, weights: Float[Tensor, "replicate document"]
) -> Scores:
    values: Tensor = getattr(texts, score)
    return Scores(values.nan_to_num(), weights)
