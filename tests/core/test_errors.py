"""What ran out is recognised, also behind another error."""

import errno
import os

import pytest

from sdelens.containment.contained import contained
from sdelens.errors import BrokenPlugin, OutOfMemory, UsageError, scarcity


def caused(error, cause):
    """An error with a cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (MemoryError(), "memory"),
        (OutOfMemory("a batch"), "a batch"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
        (RuntimeError("can't start new thread"), "memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "memory"),
        (OSError(errno.ENOSPC, "full", "some file"), "some file"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n"),
        (ImportError("cannot open shared object file: Too many open files"), "ulimit -n"),
        (caused(BrokenPlugin("does not load"), OSError(errno.EMFILE, "")), "ulimit -n"),
        (caused(UsageError("not whole"), MemoryError()), "memory"),
    ],
)
def test_what_ran_out_is_named(error, word):
    assert word in scarcity(error)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOENT, "none"), UsageError("wrong"), ValueError("memory of the past")]
)
def test_other_errors_are_not_about_scarcity(error):
    assert scarcity(error) is None


def test_a_plugin_is_not_blamed_for_what_ran_out():
    with pytest.raises(OSError, match="files"), contained("a plugin"):
        raise OSError(errno.EMFILE, "files")
