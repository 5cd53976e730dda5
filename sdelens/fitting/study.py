"""The input of analyzers: fits, their data, and the model if available."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sdelens.fitting.fitted import Fitted
from sdelens.paths.documents import Documents
from sdelens.paths.split import Split
from sdelens.paths.trajectories import Paths
from sdelens.protocols import LanguageModel
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler


@dataclass(frozen=True, eq=False)
class Viewed:
    """A fit of one view, with the paths of its documents in the coordinates of the data."""

    fitted: Fitted
    train: Paths
    validation: Paths
    test: Paths

    def __repr__(self) -> str:
        return f"<{repr(self.fitted).strip('<>')}, with its paths>"

    @classmethod
    def of(cls, fitted: Fitted, paths: Paths, sides: Split) -> "Viewed":
        """The fit with the paths of each side of the split."""
        parts = (paths.select(side) for side in (sides.train, sides.validation, sides.test))
        return cls(fitted, *parts)


@dataclass(frozen=True, eq=False)
class Study:
    """The input of analyzers."""

    name: str
    views: Mapping[View, Viewed]
    documents: Documents
    model: LanguageModel | None = None
    prompt: str | None = None
    folder: Path | None = None
    sampler: Sampler | None = None
    """Sampling settings of the texts; None for texts not sampled from the model."""
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        views = ", ".join(map(str, self.views))
        return f"<study {self.name} of {views}, {len(self.documents):,} documents>"

    def only(self, view: View) -> "Study":
        """The study of one view."""
        return replace(self, views={view: self.views[view]})

    @property
    def single(self) -> tuple[View, Viewed]:
        """The only view, for analyzers of scope ``view``."""
        ((view, viewed),) = self.views.items()
        return view, viewed
