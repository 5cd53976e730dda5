"""Whether the process that works on a run is still alive."""

import os
import platform
from collections.abc import Mapping
from typing import Any

import psutil

from sdelens.digest import digest

SAME = 5.0
"""Seconds by which two readings of one start may differ, as the clock is set."""


def this_process() -> dict[str, Any]:
    """This process for the manifest: machine, number and start."""
    me = psutil.Process()
    return {"machine": _machine(), "pid": me.pid, "started": round(me.create_time(), 2)}


def lives(process: Mapping[str, Any] | None) -> bool:
    """Whether a recorded process is alive; those of other machines are assumed to be."""
    if not process:
        return False
    if process["machine"] != _machine():
        return True
    try:
        found = psutil.Process(process["pid"])
        zombie = found.status() == psutil.STATUS_ZOMBIE
        return not zombie and abs(found.create_time() - process["started"]) < SAME
    except psutil.Error:
        return False


def is_this(process: Mapping[str, Any] | None) -> bool:
    """Whether a recorded process is this one."""
    return process is not None and process["pid"] == os.getpid() and lives(process)


def _machine() -> str:
    """A hash, because a run may be published while its machine's name should not be."""
    return digest(platform.node())[:8]
