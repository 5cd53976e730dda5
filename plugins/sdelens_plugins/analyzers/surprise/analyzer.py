"""Which texts surprise the fit, and how well that tells them from those it was made for."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.next_token import next_tokens
from sdelens.language.surprisal import Surprisal
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import LanguageModel
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, Strip, counted
from sdelens.seeds import derive
from sdelens.states.capturing import encode_document
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.intervals import with_interval
from sdelens_plugins.analyzers.common.observed_path import (
    ObservedPath,
    first_paths,
    observed_path,
    words_of,
)
from sdelens_plugins.analyzers.surprise.comparison_texts import (
    OTHERS,
    USUAL,
    ComparisonTexts,
    comparison_texts,
)
from sdelens_plugins.analyzers.surprise.detection import Detection
from sdelens_plugins.analyzers.surprise.stability import Stability

READING = (
    "Nats per token are minus the log density of each next state under the fit, per dimension; "
    "only differences mean something, since the density of a continuous state has no zero. AUROC "
    "is the chance that a text of the kind named surprises more than a test document: one half "
    "is chance, below it such texts surprise less than usual. Validation documents are the null: "
    "they are texts of the same kind, and should lie near one half (a little below where they "
    "chose when training stopped). The yardstick is the "
    "language model's own surprisal of the tokens, on the very same tokens: a fit that does no "
    "better adds nothing as a detector, since the model's logits are at hand wherever its states "
    "are. Altered texts are made from the test documents, token for token as long, and "
    "documents are resampled together with what was made of them; where no pair is out of order "
    "the interval is that of the rule of three. Gibberish is far from any text: to know it says "
    "little of subtler changes. Norms and residuals relative to training show whether states "
    "leave the region that the fit has seen; one step ahead only, so that they say nothing of "
    "free-running paths."
)


@dataclass(frozen=True)
class SurpriseAnalyzer:
    """Nats per token as coloured tokens, by document, and as a detector of unlike texts.

    `tokens` of the prompt, or else of a test document, are coloured. Unlike texts are made from
    the first `documents` test documents; loops repeat `span` tokens. `texts` names a file whose
    paragraphs are compared too.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    tokens: int = 200
    documents: int = 64
    span: int = 8
    bins: int = 8
    texts: str | None = None

    def __post_init__(self) -> None:
        least = {"tokens": 2, "documents": 1, "span": 1, "bins": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise UsageError(f"{name} must be at least {number}, got {getattr(self, name)}")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        if study.model is None:
            raise UsageError("surprise at texts needs the language model of the run")
        held = HeldOutDocuments.of(study, documents=self.documents)
        kinds = comparison_texts(
            study, study.model, held, texts=self.texts, span=self.span, seed=derive(seed, "texts")
        )
        found = Detection.of(kinds, seed=derive(seed, "bootstrap"))
        stability = Stability.of(viewed, kinds, bins=self.bins, seed=derive(seed, "stability"))
        path = SurpriseAlongPath.of(study, study.model, held, self.tokens)
        return Finding(
            analyzer="surprise",
            view=str(view),
            headline=headline(found, len(held.numbers)),
            reading=READING,
            estimates=(
                *found.estimates(),
                *stability.estimates(),
                *path.estimates(kinds[USUAL]),
            ),
            arrays=path.arrays() | found.arrays() | stability.arrays(),
            figures=(*found.figures(), *stability.figures(), path.figure()),
            strips=path.strips(),
            prompt=study.prompt,
        )


def headline(found: Detection, documents: int) -> str:
    """AUROC of each kind beside the yardstick."""
    kinds = [name for name in found.names if name != OTHERS]
    fit = listed([f"{with_interval(found.fit[name], 2)} for {name}" for name in kinds])
    model = listed([f"{float(found.model[name].value):.2f}" for name in kinds])
    return (
        f"Against {counted(documents, 'test document')}, nats per token under the fit have AUROC "
        f"{fit}; the language model's perplexity has {model}."
    )


def listed(parts: list[str]) -> str:
    """With an and before the last."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


@dataclass(frozen=True, eq=False)
class SurpriseAlongPath:
    """The surprise at each token of one path; the first state has none."""

    path: ObservedPath
    words: tuple[str, ...]
    fit: Tensor
    model: Tensor

    @classmethod
    def of(
        cls, study: Study, model: LanguageModel, held: HeldOutDocuments, tokens: int
    ) -> "SurpriseAlongPath":
        _, viewed = study.single
        path, document = _path(study, model, held, tokens)
        block = Trajectories(
            path.states[None],
            torch.ones(1, len(path.times), dtype=torch.bool),
            path.times[None],
            path.tokens[None],
            torch.zeros(1, dtype=torch.long),
        )
        surprise = Surprisal.of(viewed.fitted, block)
        known = next_tokens(model, Documents.of([document]))
        nll = known.at(surprise.document, surprise.position.long())[1]
        blank = torch.full((1,), torch.nan, dtype=torch.float64)
        words = words_of(study, path.tokens)
        return cls(path, words, torch.cat([blank, surprise.nats]), torch.cat([blank, nll]))

    def estimates(self, usual: ComparisonTexts) -> tuple[Estimate, ...]:
        """Of one path: where it stands among the test documents."""
        mean = float(self.fit[1:].mean())
        seen = usual.fit[usual.fit.isfinite()]
        below = float((seen < mean).double().mean())
        return (
            Estimate(f"nats per token, {self.path.name}", mean, None, "per dimension"),
            Estimate(f"test documents that surprise less than {self.path.name}", below),
        )

    def arrays(self) -> dict[str, Tensor]:
        return {
            "path.position": self.path.times,
            "path.token": self.path.tokens,
            "path.fit": self.fit,
            "path.model": self.model,
        }

    def strips(self) -> tuple[Strip, ...]:
        return (
            Strip("surprise of the fit", self.words, tuple(self.fit.tolist()), "nats/dimension"),
            Strip("surprise of the model", self.words, tuple(self.model.tolist()), "nats"),
        )

    def figure(self) -> Figure:
        """Both, one above the other in meaning: side by side."""
        x = self.path.times.double()
        panels = tuple(
            Panel("position", label, (Layer("line", {"x": x, "y": y}),), title)
            for title, label, y in (
                ("Fit", "nats per dimension", self.fit),
                ("Language model", "nats", self.model),
            )
        )
        return Figure(
            "along",
            panels,
            f"{self.path.span}: how much the state at each position surprises the fit, and the "
            "token there the language model, given what came before.",
        )


def _path(
    study: Study, model: LanguageModel, held: HeldOutDocuments, tokens: int
) -> tuple[ObservedPath, Document]:
    """The prompt, or else the first test document that is long enough, or the longest."""
    if study.prompt:
        return observed_path(study, tokens=tokens), Document(
            tuple(encode_document(model, study.prompt))
        )
    if held.documents is None:
        raise ValueError("the tokens of the held-out documents are needed")
    lengths = held.documents.lengths.clamp(max=tokens)
    row = int(lengths.argmax())
    paths = held.paths.select([int(held.numbers[row])])
    (path,) = first_paths(paths, documents=1, states=tokens)
    return path, list(held.documents)[row]
