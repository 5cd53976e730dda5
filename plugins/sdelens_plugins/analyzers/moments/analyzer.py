"""Mean, variance and higher moments over time: data, fit, recursion (the paper's 3.3 and A.3)."""

import sys
from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.paths.trajectories import began
from sdelens.report import Finding
from sdelens.settings import require_at_least
from sdelens.summary import CALIBRATED
from sdelens_plugins.analyzers.common.observed_path import first_paths
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.moments.aligned_paths import aligned
from sdelens_plugins.analyzers.moments.comparison import BATCHES, MomentComparison
from sdelens_plugins.analyzers.moments.figures import figures
from sdelens_plugins.analyzers.moments.results import READING, arrays, estimates, headline


@dataclass(frozen=True)
class MomentsAnalyzer:
    """Moments to order 4 of the first `components` over `steps` steps of the test documents.

    Uses at most `documents` test documents and simulates `replicates` copies of each.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = CALIBRATED
    cost: ClassVar[str] = "seconds"

    components: int = 3
    steps: int = 40
    documents: int = 256
    replicates: int = 200

    def __post_init__(self) -> None:
        require_at_least(self, documents=1)
        if self.replicates < 2 * BATCHES or self.steps < 1 or self.components < 1:
            raise UsageError(
                f"moments need at least {2 * BATCHES} replicates, one step and one component, got "
                f"replicates={self.replicates}, steps={self.steps}, components={self.components}"
            )

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        paths = first_paths(
            viewed.test,
            documents=self.documents,
            states=sys.maxsize,
            group=study.documents.group,
        )
        fitted = viewed.fitted
        # beyond the directions of its basis a fit simulates nothing
        components = min(self.components, fitted.basis.latent)
        result = MomentComparison.of(
            fitted,
            PrincipalComponents.of(viewed.train, components),
            aligned(paths, self.steps),
            trained=len(began(viewed.train)),
            replicates=self.replicates,
            seed=seed,
        )
        return Finding(
            view=str(view),
            headline=headline(result),
            reading=READING,
            estimates=estimates(result),
            arrays=arrays(result),
            figures=figures(result),
        )
