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
    """Open a run from a folder or from the hub: `sdelens.load("runs/…")`.

    `model` may be the model in memory, in any form that `sdelens.attach` accepts, with the same
    `tokenizer` and `hook`, or a lens. Its weights must be those of the fit; otherwise an error
    names the differences. Without it the model is loaded by name when needed. Loading executes no
    code from the run.
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
    opened.require_same(held)  # check now, not on first use
    return OpenStudy.of(opened, kept, given)


def held_model(model: Any, **settings: Any) -> Any:
    """A model in memory through its adapter; names and None are returned unchanged."""
    if model is None or isinstance(model, str | PathLike):
        return model
    if isinstance(model, Lens):
        return model.model
    return language_model(model, **{k: v for k, v in settings.items() if v is not None})
