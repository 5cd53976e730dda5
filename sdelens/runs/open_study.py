"""A study of one run: asked, shown, saved and shared from Python."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.protocols import LanguageModel
from sdelens.report import Figure, Finding, Report
from sdelens.runs.folder import MANIFEST, PARTS, clear, holds_run, require_free
from sdelens.runs.hub import pushed
from sdelens.runs.reporting import analyze, report_of
from sdelens.runs.run import STATES, Run
from sdelens.seeds import own_random_state
from sdelens.states.recording import View
from sdelens.steering.steer import steer
from sdelens.steering.steered_text import SteeredText


@dataclass(frozen=True, eq=False, repr=False)
class OpenStudy(Study):
    """What `sdelens.load` and `Lens.fit` give: a study that knows its run.

    A run that was not saved lies in a temporary folder, gone with its study.
    """

    run: Run = field(kw_only=True)
    kept: Any = None
    """What the run's folder lies in, if it is not to stay."""
    held: Callable[[], LanguageModel] | None = None
    """The user's model as it stands, if there is one: its weights may have changed."""

    @classmethod
    def of(
        cls, run: Run, kept: Any = None, model: Callable[[], LanguageModel] | None = None
    ) -> "OpenStudy":
        """The study of a run with a finished fit."""
        study = run.study()
        held = {f.name: getattr(study, f.name) for f in fields(Study)}
        return cls(**held, run=run, kept=kept, held=model)

    def analyze(
        self,
        name: str,
        *,
        prompt: str | None = None,
        layer: int | str | None = None,
        **settings: Any,
    ) -> Finding:
        """Ask one analyzer, with its settings by name: `study.analyze("uncertainty", prompt=…)`.

        Where several layers were fitted and it is asked about one at a time, `layer` says which.
        What it finds shows itself in a notebook, and is kept with the run. A model in memory must
        still be that of the fit.
        """
        model = self.held() if self.held else None
        if model is not None:
            self.run.require_same(model)
        alone = load("analyzer", name).scope == "view"
        view = self._view(layer) if alone or layer is not None else None
        asked = {name: settings}
        with own_random_state(model.device if model else "cpu"):  # a hook of the model may draw
            (finding,), _ = analyze(self.run, [name], prompt=prompt, settings=asked, view=view)
        return finding

    def steer(
        self, prompt: str, *, layer: int | str | None = None, **settings: Any
    ) -> SteeredText:
        """What the model writes steered by a fit, beside what it writes: `drift=`, `diffusion=`.

        `study.steer("The sea", drift=0.5)` is `sdelens.steer` with the run's own fit and
        model, which has the other settings.
        """
        fitted = self.views[self._view(layer)].fitted
        model = self.held() if self.held else self.run.model
        self.run.require_same(model)
        return steer(fitted, model, prompt, **settings)

    def _view(self, layer: int | str | None) -> View:
        """The view of a layer, or the only one."""
        named = {view.label: view for view in self.views}
        if layer is None and len(named) == 1:
            return next(iter(named.values()))
        if str(layer) not in named:
            asked = "" if layer is None else f", got {layer}"
            raise UsageError(f"layer must be one of {', '.join(named)}{asked}")
        return named[str(layer)]

    def report(self) -> Report:
        """Scores, verdict, and all that was found so far; shows itself in a notebook."""
        return report_of(self.run)

    def plot(self, layer: int | str | None = None) -> Figure:
        """A held-out path with what the fit predicts; shows itself in a notebook."""
        return self.analyze("trajectory", layer=layer).figures[0]

    def save(
        self, folder: str | PathLike[str], *, states: bool | None = None, overwrite: bool = False
    ) -> Path:
        """Keep the run in a folder, as `sdelens fit` writes one; gives the folder.

        The states go with it where they cannot be captured again, since a user's hooks or calls
        shaped them; `states` says otherwise.
        """
        place = Path(folder)
        if place.resolve() == self.run.folder.resolve():
            return place
        if overwrite and holds_run(place):
            clear(place)
            (place / MANIFEST).unlink()
        if holds_run(place):
            raise UsageError(f"{place} holds a run: give overwrite=True, or another folder")
        require_free(place)
        copied(self.run, place, states=states)
        return place

    def push_to_hub(
        self, name: str, *, private: bool = True, token: str | None = None, states: bool = False
    ) -> str:
        """Save to the hub as the model repository `name`; gives its address.

        What is uploaded is what `save` writes, token ids of the texts included, and a model card;
        the states only if `states` is true. Files and folders of this machine are reduced to their
        names, and a written report stays here.
        """
        copy = partial(copied, states=states)
        return pushed(self.run, name, copy, private=private, token=token)

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()


def copied(run: Run, place: Path, *, states: bool | None = None) -> None:
    """The files of a run in another folder, its manifest last; states if they are asked for."""
    place.mkdir(parents=True, exist_ok=True)
    if states is None:
        states = not run.repeatable
    for name in PARTS:
        part = run.folder / name
        if part.is_dir() and name != STATES:
            shutil.copytree(part, place / name, symlinks=False)
        elif part.is_file():
            shutil.copy(part, place / name)
    if states:
        shutil.copytree(run.recording.folder, place / STATES)
    shutil.copy(run.folder / MANIFEST, place / MANIFEST)
