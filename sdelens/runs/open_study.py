"""A study of one run, for use from Python."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, overload

from sdelens.containment.contained import contained
from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.protocols import LanguageModel
from sdelens.report import Estimate, Figure, Finding, Report
from sdelens.runs.analyses import Analyses
from sdelens.runs.copying import copied, copied_in_place
from sdelens.runs.folder import holds_run
from sdelens.runs.hub import pushed
from sdelens.runs.observer import ContainedObserver, at_hand
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import analyze
from sdelens.runs.run_report import report_of
from sdelens.runs.saved_findings import findings_of
from sdelens.runs.scores import Scores
from sdelens.runs.writer import sole_writer
from sdelens.seeds import own_random_state
from sdelens.steering.steer import steer
from sdelens.steering.steered_text import SteeredText

if TYPE_CHECKING:
    from pandas import DataFrame


class AnalysesOfStudy:
    """The attribute `analyze`, with the analyzers of the moment; not a property, see there."""

    @overload
    def __get__(self, study: None, owner: type) -> "AnalysesOfStudy": ...

    @overload
    def __get__(self, study: "OpenStudy", owner: type) -> Analyses: ...

    def __get__(self, study: "OpenStudy | None", owner: type) -> "Analyses | AnalysesOfStudy":
        return self if study is None else Analyses(study, study._finding)


@dataclass(frozen=True, eq=False, repr=False)
class OpenStudy(Study):
    """A study with its run, as returned by `sdelens.load` and `Lens.fit`.

    An unsaved run is in a temporary folder, which is removed with the study.
    """

    run: Run = field(kw_only=True)
    kept: Any = None
    """Keeps the temporary folder of an unsaved run alive."""
    held: Callable[[], LanguageModel] | None = None
    """Returns the user's model in memory, if any; its weights may have changed."""
    analyze: ClassVar[AnalysesOfStudy] = AnalysesOfStudy()
    """Runs an analyzer with settings: `study.analyze("uncertainty", prompt=…)`.

    `study.analyze.uncertainty(prompt=…)` is the same, with completion of names and settings, and
    `study.analyze()` lists the analyzers with their questions and costs.
    """

    @classmethod
    def of(
        cls, run: Run, kept: Any = None, model: Callable[[], LanguageModel] | None = None
    ) -> "OpenStudy":
        """Open a run with a finished fit."""
        study = run.study()
        held = {f.name: getattr(study, f.name) for f in fields(Study)}
        return cls(**held, run=run, kept=kept, held=model)

    def analyze_all(
        self, *, prompt: str | None = None, resume: bool = False
    ) -> tuple[Finding, ...]:
        """Run all analyzers that apply; their findings are saved with the run one by one.

        With `resume`, finished findings of equal inputs are kept, as of an interrupted call.
        Analyzers that cannot run are skipped; `study.report().failures` has the reasons.
        """
        observer = ContainedObserver(at_hand())
        with self._checked_model(), observer.stage("analyze", None, "analyses") as done:
            findings, left_out = analyze(
                self.run,
                prompt=prompt,
                resume=resume,
                watch=lambda name, view: done(1, f"{name} {view}"),
            )
        for name, reason in left_out.items():
            observer.told(f"left out: {name}: {reason}")
        return findings

    def _finding(
        self,
        name: str,
        *,
        prompt: str | None = None,
        layer: int | str | None = None,
        **settings: Any,
    ) -> Finding:
        """The finding of one analyzer."""
        alone = load("analyzer", name).scope == "view"
        view = self.run.view(layer) if alone or layer is not None else None
        given = {name: settings}
        stage = ContainedObserver(at_hand()).stage(name, None, "")
        with self._checked_model(), stage:
            (finding,), _ = analyze(self.run, [name], prompt=prompt, settings=given, view=view)
        return finding

    @contextmanager
    def _checked_model(self) -> Iterator[None]:
        """A block in which the model in memory, if any, is that of the fit."""
        model = self.held() if self.held else None
        if model is not None:
            self.run.require_same(model)
        with own_random_state(model.device if model else "cpu"):  # a hook of the model may draw
            yield

    def steer(
        self, prompt: str, *, layer: int | str | None = None, **settings: Any
    ) -> SteeredText:
        """Generate text steered by a fit: `study.steer("The sea", drift=0.5)`.

        This is `sdelens.steer` with the fit and the model of the run, and takes its settings.
        """
        fitted = self.views[self.run.view(layer)].fitted
        model = self.held() if self.held else self.run.model
        self.run.require_same(model, hooks=True)
        with contained(f"the model {model.card.name}"):
            return steer(fitted, model, prompt, **settings)

    @property
    def scores(self) -> Scores:
        """The held-out scores of all fits and baselines, with the method `to_pandas`."""
        return Scores({view: viewed.fitted for view, viewed in self.views.items()})

    def to_pandas(self) -> "DataFrame":
        """A data frame with a row for each estimate of each finding so far.

        The columns are `analyzer`, `view` and `prompt`, and then those of `Finding.to_pandas`.
        """
        from pandas import DataFrame

        own = [
            {"analyzer": found.analyzer, "view": found.view, "prompt": found.prompt}
            | asdict(estimate)
            for found in findings_of(self.run)
            for estimate in found.estimates
        ]
        estimate_columns = [each.name for each in fields(Estimate)]
        return DataFrame(own, columns=["analyzer", "view", "prompt", *estimate_columns])

    def report(self) -> Report:
        """The report with scores, verdict and all findings so far, displayed in notebooks."""
        return report_of(self.run)

    def plot(self, layer: int | str | None = None) -> Figure:
        """Plot a held-out path with the fit's predictions."""
        return self._finding("trajectory", layer=layer).figures[0]

    def save(
        self, folder: str | PathLike[str], *, states: bool | None = None, overwrite: bool = False
    ) -> Path:
        """Save the run to a folder in the format of `sdelens fit`; returns the folder.

        States are included if they cannot be captured again because they depend on the user's
        hooks or calls; `states` overrides this. With `overwrite`, a run in the folder is replaced
        once the copy is complete.
        """
        place = Path(folder)
        if place.resolve() == self.run.folder.resolve():
            return place
        with sole_writer(place):
            if holds_run(place) and not overwrite:
                raise UsageError(f"{place} contains a run: give overwrite=True, or another folder")
            copied_in_place(self.run, place, states=states)
        return place

    def push_to_hub(
        self, name: str, *, private: bool = True, token: str | None = None, states: bool = False
    ) -> str:
        """Upload the run to the model repository `name` on the hub; returns its address.

        The upload contains what `save` writes, including the token ids of the texts, and a model
        card; states only if `states` is true. Paths of this machine are reduced to names, and a
        written report is not uploaded.
        """
        copy = partial(copied, states=states)
        return pushed(self.run, name, copy, private=private, token=token)

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()
