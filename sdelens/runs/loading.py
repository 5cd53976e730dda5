"""Opening a run: a folder, or a repository on the hub."""

from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from sdelens.models import language_model
from sdelens.runs.folder import require_run
from sdelens.runs.hub import fetched, on_hub
from sdelens.runs.lens import Lens
from sdelens.runs.open_study import OpenStudy
from sdelens.runs.run import Run


def load(
    run: str | PathLike[str],
    model: Any = None,
    *,
    tokenizer: Any = None,
    hook: str | None = None,
    revision: str | None = None,
    token: str | None = None,
) -> OpenStudy:
    """What `sdelens fit` wrote or a study saved: `sdelens.load("runs/…")`, or a name on the hub.

    `model` may be the model itself, already in memory: what `sdelens.attach` takes, with the same
    `tokenizer` and `hook`, or a lens. Its weights must be those of the fit, else an error names
    what differs. Without it the model is loaded by name when it is needed. Loading runs no code
    that the run brings.
    """
    folder, kept = Path(run), None
    if on_hub(run):
        folder, kept = fetched(str(run), revision=revision, token=token)
    require_run(folder)
    given = partial(held_model, model, tokenizer=tokenizer, hook=hook)
    held = given()
    opened = Run(folder, held)
    if held is None or isinstance(held, str | PathLike):
        return OpenStudy.of(opened, kept)
    opened.require_same(held)  # now, and not when somebody asks
    return OpenStudy.of(opened, kept, given)


def held_model(model: Any, **settings: Any) -> Any:
    """A model in memory as its adapter has it; a name and nothing stay what they are."""
    if model is None or isinstance(model, str | PathLike):
        return model
    if isinstance(model, Lens):
        return model.model
    return language_model(model, **{k: v for k, v in settings.items() if v is not None})
