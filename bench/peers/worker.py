"""Shared main function of the workers: read the arrays, time one fit and write the result."""

import json
import math
import resource
import sys
import time
import traceback
from importlib.metadata import version
from pathlib import Path

import numpy as np


def work(distribution, settings):
    """Run one of `settings`: functions of (states, dt, degree) that return a fitted SDE.

    A fitted SDE is a function of points that returns the drift and the covariance per unit of
    time, the latter per point or once for all points.
    """
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text())
    states, points = np.load(folder / "states.npy"), np.load(folder / "points.npy")
    fit = settings[task["setting"]]
    end = math.ceil(time.process_time() + task["limit"])
    resource.setrlimit(resource.RLIMIT_CPU, (end, end + 5))  # SIGXCPU at the limit
    try:
        start = time.process_time()  # all threads of this process
        fitted = fit(states, task["dt"], task["degree"])
        seconds = time.process_time() - start
        drift, covariance = fitted(points)
    except Exception as error:  # a failure is a row of the table
        traceback.print_exc()
        message = str(error).strip() or "no message"
        found = {"failed": f"{type(error).__name__}: {message.splitlines()[0]}"}
    else:
        np.savez(folder / "found.npz", drift=drift, covariance=covariance)
        found = {"seconds": seconds}
    found["memory"] = _peak()
    found["version"] = version(distribution)
    (folder / "found.json").write_text(json.dumps(found))


def _peak():
    """Peak resident memory of this process in bytes, including interpreter and libraries.

    The value of getrusage would include the peak of the parent process.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def linear(rate, offset, covariance):
    """SDE with drift ``rate @ x + offset`` and a constant covariance."""
    return lambda points: (points @ rate.T + offset, covariance[None])


def one_dimension(states):
    """The single coordinate of one-dimensional states."""
    if states.shape[1] > 1:
        raise ValueError(f"supports one dimension, got {states.shape[1]}")
    return states[:, 0].astype(float)
