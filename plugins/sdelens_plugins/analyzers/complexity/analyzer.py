"""Whether the fit's error grows with the complexity of the text (the paper's section 4.2.2)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.complexity.correlations import Correlations
from sdelens_plugins.analyzers.complexity.document_table import FEWEST, DocumentTable

READING = (
    "Each point of a correlation is one document: its mean error over its steps, and a measure of "
    "its text. Intervals resample documents; those shown are simultaneous, so that all of them "
    "together hold the true correlations in 95% of cases. The null is that of documents "
    "permuted among each other: its p-values are corrected by Holm's method for the number of "
    "correlations, those that hold the length of the document included. Length matters since "
    "longer texts have later positions, and ratios of types to tokens that differ. Measures are "
    "plain rules for English, noisy in short texts, and what is noisy correlates less. Texts that "
    "the model wrote itself are narrower than those people write, which hides correlations too. "
    "Not shown does not mean not there: the least correlation that this many documents would "
    "show is given. Annotations are the numbers that the source had beside a text (HelpSteer's "
    "ratings of responses, say): coarse, and of the whole response where the run may have read "
    "its beginning only. Growth is the mean logarithm by which a step of the fit stretches a "
    "small deviation in a random direction: less of it is more stability. A correlation with the "
    "model's surprisal says that the fit errs where the model errs, which no property of the text "
    "need cause."
)


@dataclass(frozen=True)
class ComplexityAnalyzer:
    """Rank correlations over documents between the error of the fit and the text's complexity.

    Over the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    documents: int = 512

    def __post_init__(self) -> None:
        if self.documents < FEWEST:
            raise UsageError(f"documents must be at least {FEWEST}, got {self.documents}")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        if study.model is None:
            raise UsageError("the complexity of texts needs the language model of the run")
        held = HeldOutDocuments.of(study, documents=self.documents)
        table = DocumentTable.of(study.model, held, viewed.fitted, seed=derive(seed, "growth"))
        table = table.grouped(held.unit[held.numbers])
        found = Correlations.of(table, seed=seed)
        return Finding(
            view=str(view),
            headline=found.headline(),
            reading=READING,
            estimates=found.estimates(),
            arrays=table.tensors() | found.arrays(),
            figures=found.figures(),
        )
