"""A run, ready for questions: fits, the data they were made from, the model if there is one."""

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
    """A fit of one view, and its documents' paths in the data's coordinates."""

    fitted: Fitted
    train: Paths
    validation: Paths
    test: Paths

    @classmethod
    def of(cls, fitted: Fitted, paths: Paths, sides: Split) -> "Viewed":
        """The paths of each side beside the fit."""
        parts = (paths.select(side) for side in (sides.train, sides.validation, sides.test))
        return cls(fitted, *parts)


@dataclass(frozen=True, eq=False)
class Study:
    """What analyzers are given."""

    name: str
    views: Mapping[View, Viewed]
    documents: Documents
    model: LanguageModel | None = None
    prompt: str | None = None
    folder: Path | None = None
    sampler: Sampler | None = None
    """How the texts were drawn from the model; None for texts that are not its own."""
    provenance: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        views = ", ".join(map(str, self.views))
        return f"<study {self.name} of {views}, {len(self.documents):,} documents>"

    def only(self, view: View) -> "Study":
        """The study of one view."""
        return replace(self, views={view: self.views[view]})

    @property
    def single(self) -> tuple[View, Viewed]:
        """The one view that an analyzer of scope view is given."""
        ((view, viewed),) = self.views.items()
        return view, viewed
