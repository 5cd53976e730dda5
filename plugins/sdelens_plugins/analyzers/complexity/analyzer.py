"""Whether the fit's error grows with the complexity of the text (section 4.2.2 of the paper)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import UNSURE
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.complexity.correlations import Correlations
from sdelens_plugins.analyzers.complexity.document_table import MIN_DOCUMENTS, DocumentTable
from sdelens_plugins.analyzers.complexity.figures import figures
from sdelens_plugins.analyzers.complexity.results import arrays, estimates, headline, reading


@dataclass(frozen=True)
class ComplexityAnalyzer:
    """Rank correlations of the fit's error with the complexity of the text.

    They are over the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = UNSURE
    cost: ClassVar[str] = "seconds"
    documents: int = 512

    def __post_init__(self) -> None:
        require_at_least(self, documents=MIN_DOCUMENTS)

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        if study.model is None:
            raise UsageError("the complexity of texts needs the language model of the run")
        held = HeldOutDocuments.of(study, documents=self.documents)
        table = DocumentTable.of(study.model, held, viewed.fitted, seed=derive(seed, "growth"))
        table = table.grouped(held.unit[held.numbers])
        correlations = Correlations.of(table, seed=seed)
        return Finding(
            view=str(view),
            headline=headline(correlations),
            reading=reading(correlations),
            estimates=estimates(correlations),
            arrays=table.tensors() | arrays(correlations),
            figures=figures(correlations),
        )
