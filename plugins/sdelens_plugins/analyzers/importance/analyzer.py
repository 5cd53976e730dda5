"""Importance of tokens by norms, attention, and their effect on drift and noise."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.texts import Text, held_out_texts, prompt_or_document, required_model
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import PUSH
from sdelens_plugins.analyzers.importance.agreement import agreements
from sdelens_plugins.analyzers.importance.attention import attention
from sdelens_plugins.analyzers.importance.figures import figures
from sdelens_plugins.analyzers.importance.measures import (
    mean_embedding,
    measure_positions,
    measure_texts,
)
from sdelens_plugins.analyzers.importance.results import ImportanceResults


@dataclass(frozen=True)
class ImportanceAnalyzer:
    """Importance of tokens by norms, by attention, and by their effect on drift and noise.

    Figures have the first `tokens` states of the prompt, or of a test document. Rankings are
    compared on as many states of each of the first `documents` test documents, for the last state.
    Integrated gradients from the `baseline` (mean or zero) use `nodes` nodes, and as many again
    in each half of a part of the line where they are not complete.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    wants: ClassVar[frozenset[str]] = frozenset({"attention"})
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = PUSH
    cost: ClassVar[str] = "seconds"
    quick: ClassVar[dict[str, Any]] = {"documents": 10}

    tokens: int = 24
    documents: int = 16
    nodes: int = 16
    baseline: str = "mean"

    def __post_init__(self) -> None:
        require_at_least(self, tokens=1, documents=1, nodes=1)
        if self.baseline not in ("mean", "zero"):
            raise UsageError(f"baseline must be mean or zero, got {self.baseline!r}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        text = prompt_or_document(study, tokens=self.tokens)
        documents = held_out_texts(study, documents=self.documents, states=3)
        texts = [document.first(self.tokens) for document in documents] or [text]
        base = mean_embedding(study, texts)
        base = base if self.baseline == "mean" else torch.zeros_like(base)
        text_measures = measure_positions(study, text, base, self.nodes)
        measures = measure_texts(study, texts, base, self.nodes)
        weights, notes = text_attention(study, text)
        results = ImportanceResults(
            text=text,
            words=tuple(required_model(study).decode(text.ids.tolist())),
            text_measures=text_measures,
            measures=measures,
            agreements=agreements(measures, derive(seed, "agreement")),
            attention=weights,
            notes=notes,
        )
        return Finding(
            view=str(view),
            headline=results.headline(),
            reading=results.reading(),
            estimates=results.estimates(),
            arrays=results.arrays(),
            figures=figures(results),
            strips=results.strips(),
            prompt=study.prompt,
        )


def text_attention(study: Study, text: Text) -> tuple[Tensor | None, tuple[str, ...]]:
    """The attention of all layers and heads along the text, or why there is none."""
    try:
        return attention(required_model(study), text.ids[None])[:, 0], ()
    except UsageError as error:
        return None, (f"Left out: {error}.",)
