"""States saved with a run, because they cannot be captured again or because the user wanted to."""

from collections.abc import Iterable
from pathlib import Path

from sdelens.errors import UsageError
from sdelens.origin import Origin
from sdelens.paths.documents import Documents
from sdelens.states.recording import Recording

STATES = "states"
"""Their folder in that of the run."""


def saved_states(
    run: Path, documents: Documents, origins: Iterable[Origin | None]
) -> Recording | None:
    """The verified states saved with a run; None if there are none.

    Raises `UsageError` if they are damaged, or not those of the run's documents and fits.
    """
    folder = run / STATES
    saved = Recording.load(folder)
    if saved is None:
        return None
    known = [origin for origin in origins if origin]
    whole = saved.origin.tokens == documents.digest()
    if not whole or not all(_same(saved.origin, origin) for origin in known):
        raise UsageError(f"{folder} has the states of another model or of other texts")
    return saved


def _same(saved: Origin, fitted: Origin) -> bool:
    """Whether two origins have the same states; fingerprints are compared within a layout."""
    for name in ("tokens", "hook", "skip_first", "repeatable"):
        if getattr(saved, name) != getattr(fitted, name):
            return False
    here, there = saved.model, fitted.model
    if not saved.repeatable:
        return here.revision == there.revision
    return here.layout != there.layout or here.fingerprint == there.fingerprint
