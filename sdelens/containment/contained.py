"""The context manager of every call of a plugin."""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sdelens.containment.exits import StopRequested, heard_signals, no_exit
from sdelens.containment.module_state import MODULES
from sdelens.containment.part import Part
from sdelens.containment.process_state import MAIN_THREAD, PROCESS
from sdelens.errors import BrokenPlugin, SdelensError, disk_fails, scarcity, words_of


class Unrestorable(BrokenPlugin):
    """A plugin changed what others use and what cannot be restored, so nothing else may run."""


@contextmanager
def contained(
    plugin: str, verb: str = "failed:", *, parts: Sequence[Part] = (), quiet: bool = False
) -> Iterator[None]:
    """Call a plugin in a block, named as in ``the probe linear``.

    Whatever it raises, `SystemExit` and other exceptions that are no `Exception` included, becomes
    a `BrokenPlugin` with the cause; `os._exit` is refused. Errors addressed to the user, out of
    memory, a full or faulty disk, and interrupts that the user sent pass unchanged. Global state
    and the given parts are restored, and one line on stderr names what the plugin had changed,
    unless `quiet`.
    """
    with heard_signals() as heard, restored(plugin, parts, quiet=quiet), no_exit():
        try:
            yield
        except BaseException as error:
            if heard and not isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt from error  # which became another error on its way
            if _passes(error, heard):
                raise
            raise BrokenPlugin(f"{plugin} {verb} {words_of(error)}") from error


def _passes(error: BaseException, heard: set[int]) -> bool:
    """Whether an exception is no fault of the plugin in which it was raised."""
    if isinstance(error, KeyboardInterrupt):
        return bool(heard) or isinstance(error, StopRequested)
    if isinstance(error, SdelensError):
        return True
    return isinstance(error, Exception) and (scarcity(error) is not None or disk_fails(error))


@contextmanager
def restored(plugin: str, parts: Sequence[Part] = (), *, quiet: bool = False) -> Iterator[None]:
    """Restore global state after the block, and name what the plugin changed."""
    from sdelens.containment.numerical_state import NUMERICAL  # imports torch

    main = threading.current_thread() is threading.main_thread()
    # modules first: what reads and restores the others is in them
    watched = (*MODULES, *NUMERICAL, *PROCESS, *(MAIN_THREAD if main else ()), *parts)
    before = [(part, part.read()) for part in watched]
    try:
        yield
    finally:
        _restore(plugin, before, quiet=quiet)


def _restore(plugin: str, before: Sequence[tuple[Part, Any]], *, quiet: bool) -> None:
    """Restore the parts that changed, and name them."""
    changed, lost = [], []
    for part, value in before:
        try:
            if part.same(now := part.read(), value):
                continue
            if part.by_plugin(now, value):
                changed.append(part.name)
            part.write(value)
        except Exception as error:
            lost.append(f"{part.name} ({words_of(error)})")
    if lost:
        raise Unrestorable(f"{plugin} changed {_listed(lost)}, which cannot be restored")
    if changed and not quiet and sys.stderr:
        print(f"{plugin} changed {_listed(changed)}: restored", file=sys.stderr)


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
