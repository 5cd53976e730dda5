"""Sentences, estimates and arrays of out-of-distribution detection by surprise."""

from dataclasses import dataclass

from torch import Tensor

from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.intervals import estimate
from sdelens_plugins.analyzers.common.word_list import word_list
from sdelens_plugins.analyzers.surprise.comparison_texts import TEST, VALIDATION
from sdelens_plugins.analyzers.surprise.detection import SCORES, Detection
from sdelens_plugins.analyzers.surprise.path_surprise import PathSurprise
from sdelens_plugins.analyzers.surprise.stability import Stability

PART_NAMES = {"state": "norm of states", "residual": "norm of residuals"}
READING = (
    "Nats per token are minus the log density of each next state under the fit, per dimension. "
    "Only differences mean something, since the density of a continuous state has no zero. AUROC "
    "is the probability that a text of the given kind surprises more than a test document: 0.5 is "
    "chance, and below 0.5 such texts surprise less than usual. Validation documents are the "
    "null: they are texts of the same kind and should be near 0.5 (a little below where they "
    "determined early stopping). The baseline is the language model's own surprisal on the very "
    "same tokens: a fit that does no better adds nothing as a detector, since logits are "
    "available wherever states are. Corrupted texts are made from the test documents with the "
    "same number of tokens, and are resampled together with them; where all pairs are in order "
    "the interval follows the rule of three. Gibberish is far from any text, so detecting it "
    "says little about subtler changes. Norms of states and residuals relative to training show "
    "whether states leave the region that the fit has seen; they are for one step ahead and say "
    "nothing about free-running paths."
)


@dataclass(frozen=True, eq=False)
class SurpriseResults:
    """Detection, stability along texts, and one path."""

    detection: Detection
    stability: Stability
    path: PathSurprise

    def headline(self) -> str:
        """The range of the AUROC, and which kinds the fit detects better than perplexity."""
        detection = self.detection
        kinds = [name for name in detection.names if name != VALIDATION]
        areas = [float(detection.fit[name].value) for name in kinds]
        better = [name for name in kinds if float(detection.lead[name].low) > 0]
        return (
            f"The fit separates {word_list(kinds)} from test documents with AUROC "
            f"{min(areas):.2f} to {max(areas):.2f}, and "
            f"{word_list(better) if better else 'none of them'} better than the perplexity of the "
            "language model."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Surprisals and AUROC by kind of text, relative norms, and the path."""
        return (*self._surprisals(), *self._areas(), *self._norms(), *self._path())

    def _surprisals(self) -> list[Estimate]:
        rows = []
        for name, texts in self.detection.kinds.items():
            for score, values, unit in (
                ("fit", texts.fit, "nats per dimension"),
                ("model", texts.model, "nats per token"),
            ):
                values = values[values.isfinite()]
                error = float(values.std()) / len(values) ** 0.5 if len(values) > 1 else None
                mean = float(values.mean())
                rows.append(Estimate(f"surprise of the {score}, {name}", mean, error, unit))
        return rows

    def _areas(self) -> list[Estimate]:
        detection = self.detection
        return [
            estimate(f"AUROC of {score}, {name}", areas[name], "")
            for name in detection.names
            for score, areas in (
                ("the fit", detection.fit),
                ("perplexity", detection.model),
                ("the fit less perplexity's", detection.lead),
            )
        ]

    def _norms(self) -> list[Estimate]:
        return [
            estimate(f"{PART_NAMES[part]}, {name}", interval, "of training's")
            for part, kinds in self.stability.overall.items()
            for name, interval in kinds.items()
        ]

    def _path(self) -> list[Estimate]:
        """The surprisal of the path, and its rank among the test documents."""
        name, mean = self.path.path.name, float(self.path.fit[1:].mean())
        test = self.detection.kinds[TEST].fit
        below = float((test[test.isfinite()] < mean).double().mean())
        return [
            Estimate(f"nats per token, {name}", mean, None, "per dimension"),
            Estimate(f"test documents that surprise less than {name}", below),
        ]

    def arrays(self) -> dict[str, Tensor]:
        """The path, scores and areas by kind of text, and norms by position."""
        path, stability = self.path, self.stability
        named = {
            "path.position": path.path.times,
            "path.token": path.path.tokens,
            "path.fit": path.fit,
            "path.model": path.model,
            "path.entropy": path.entropy,
        }
        for name, texts in self.detection.kinds.items():
            named |= {f"score.{_key(name)}.fit": texts.fit}
            named |= {f"score.{_key(name)}.model": texts.model}
        for score in SCORES:
            for name, area in getattr(self.detection, score).items():
                named |= prefixed(**{f"auroc.{_key(name)}.{score}": area.tensors()})
        named["stability.position"] = stability.positions
        for part, kinds in stability.by_position.items():
            for name, interval in kinds.items():
                named |= prefixed(**{f"stability.{part}.{_key(name)}": interval.tensors()})
        return named


def _key(name: str) -> str:
    return name.replace(" ", "_")
