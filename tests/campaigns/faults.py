"""Makes a chosen system call of this process fail, or kills the process before it.

The calls are those that change files: to open for writing, write, sync, rename, make and remove.
"""

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
KILLED = 0
"""The error of a call before which the process is killed."""


def preload():
    """Start this program again with the library, if there is a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if available() or compiler is None:
        return
    library = Path(tempfile.mkdtemp(prefix="faults-")) / "faults.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True
    )
    os.environ["LD_PRELOAD"] = str(library)
    os.execv(sys.executable, sys.orig_argv)


def available():
    """Whether the library is loaded."""
    return hasattr(ctypes.CDLL(None), "faults_arm")


def arm(folder, at=0, error=KILLED):
    """Let the call number `at` below a folder fail with an errno; 0 only counts."""
    ctypes.CDLL(None).faults_arm(os.fsencode(folder), ctypes.c_long(at), error)


def counted():
    """How many calls there were since."""
    count = ctypes.CDLL(None).faults_count
    count.restype = ctypes.c_long
    return count()
