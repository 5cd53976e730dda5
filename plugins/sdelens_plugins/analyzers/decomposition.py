"""How much of the model's motion is drift, and what the rest is."""

from dataclasses import dataclass
from typing import ClassVar

from sdelens.branching.branched import Branching
from sdelens.branching.choice import Choice
from sdelens.branching.decomposition import Decomposition
from sdelens.branching.measuring import Measured, measured
from sdelens.branching.predictors import Larger, Predictors
from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.held_prefixes import HeldPrefixes, sampled_words
from sdelens_plugins.analyzers.layer_map import in_order
from sdelens_plugins.analyzers.motion_parts import MotionParts

READING = (
    "The metric is the inverse of each coordinate's training variance. Motion is the mean "
    "squared distance from a state to the next; by Pythagoras it is the sum of its parts. Drift "
    "is what the fit foretells, scaled by its gain (1 is calibrated). Hold it against the return "
    "to the mean alone, which says of every state that the training mean at the next position "
    "will follow: drift with no larger share is no more than that. Misfit is what a larger "
    "probe on the same state adds to it, {larger}; memory, what {lags} earlier states add to "
    "that probe. They are lower bounds: another class may reach more. Unreached is the motion "
    "of the model's own mean that none of them foretells; exact states tell their prefix apart, "
    "so that it is of this class and not of the state. The sampler's noise is what the draw of "
    "the next token adds, and no fit can foretell it. "
)
CROSSED = (
    "Coefficients are cross-fitted by document and parts are unbiased, so that one that is "
    "nothing may be a little negative. "
)
ALONE = (
    "There is one document, so that coefficients are fitted to what they are held against, and "
    "the parts foretold are a little too large; there are no intervals. "
)
FOREIGN = (
    "The texts are not the model's own, so that no part of their motion is its sampler's. Drift, "
    "misfit and memory are parts of the motion that occurred; of what they leave, the model's own "
    "next tokens would leave one part, and the other is by how much the text is not the model: "
    "negative where the fit, made to the texts, foretells them better than the model's words. "
)
ANEW = "Prefixes do not share a cache in this model, so that each was read anew. "


@dataclass(frozen=True)
class DecompositionAnalyzer:
    """Drift, misfit, memory, what is unreached, and the sampler's noise, layer by layer.

    Over the first `documents` test documents, `branches` next tokens after every `every`-th prefix
    (or enumerated up to a `coverage`). The larger probe has `centres` bumps, looks back `lags`
    states and is fitted to `transitions`; `memory` bounds the MiB of what is held of texts.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "run"
    documents: int = 256
    branches: int = 2
    coverage: float = 0.0
    every: int = 2
    centres: int = 512
    lags: int = 2
    transitions: int = 20_000
    memory: int = 256
    cached: bool = True

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UsageError(f"documents must be at least 1, got {self.documents}")
        self.branching(None)  # errors before any work
        Larger(self.centres, self.lags, self.transitions)

    def branching(self, sampler: Sampler | None) -> Branching:
        """As the settings say; of texts that are not the model's own its law at temperature 1."""
        choice = Choice(self.branches, self.coverage)
        return Branching(sampler or Sampler(), choice, self.every, self.memory, self.cached)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        held = HeldPrefixes.of(study, documents=self.documents)
        larger = Larger(self.centres, self.lags, self.transitions)
        branching = self.branching(study.sampler)
        views = in_order(study)
        found = measured(
            held.model,
            {v.site: Predictors.of(study.views[v], larger, seed=derive(seed, v)) for v in views},
            branching,
            held.prefixes,
            held.cell,
            cells=held.cells,
            seed=seed,
        )
        if study.sampler is not None:
            found.agreement.require(study.sampler)
        own = study.sampler is not None
        parts = MotionParts(
            views=tuple(views),
            layers=tuple(
                Decomposition.of(found.products[v.site], held.groups, own=own, seed=seed)
                for v in views
            ),
            spread=tuple(study.views[v].fitted.basis.spread for v in views),
            held=held,
            found=found,
        )
        return Finding(
            analyzer="decomposition",
            view=str(views[0]) if len(views) == 1 else f"{views[0]}-{views[-1]}",
            headline=parts.headline(),
            reading=self._reading(study, branching.choice, larger, found),
            estimates=parts.estimates(),
            arrays=parts.arrays(),
            figures=parts.figures(),
        )

    def _reading(self, study: Study, choice: Choice, larger: Larger, found: Measured) -> str:
        kind = FOREIGN if study.sampler is None else ""
        said = READING.format(larger=larger, lags=self.lags)
        drawn, tried = sampled_words(study.sampler, found.agreement), str(choice)
        anew = "" if found.cached else ANEW
        said += CROSSED if found.agreement.units > 1 else ALONE
        return f"{kind}{said}{anew}{drawn} {tried[0].upper()}{tried[1:]}."
