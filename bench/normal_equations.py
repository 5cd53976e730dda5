"""The linear probe against normal equations in NumPy, for d = 64 and 100,000 transitions."""

import json
import os
import subprocess
import sys
import time
from statistics import median

import numpy as np
import torch

from sdelens.interfaces import load
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import ignore_epoch
from sdelens.testing import ornstein_uhlenbeck


def by_hand(x, y):
    """Least squares with an intercept in float64, and the residual covariance."""
    x, y = np.column_stack([x, np.ones(len(x))]).astype(float), y.astype(float)
    cross = x.T @ y
    solution = np.linalg.solve(x.T @ x, cross)
    return solution, (y.T @ y - solution.T @ cross) / len(y)


def work(rounds: int = 15) -> dict[str, float]:
    """Median process time in seconds of each method, over interleaved rounds."""
    states = ornstein_uhlenbeck(64).simulate(500, 201, seed=0)
    paths = Trajectories.from_states(states, 0.1)
    held, linear = paths.rows(torch.arange(1)), load("probe", "linear")
    kernel, exact = linear(ridge=0.0, noise="full"), linear(ridge=0.0, density="exact")
    x, y = states[:, :-1].reshape(-1, 64).numpy(), states[:, 1:].reshape(-1, 64).numpy()
    ways = {
        "numpy": lambda: by_hand(x, y),
        "discrete": lambda: kernel.fit(paths, held, seed=0, watch=ignore_epoch),
        "exact": lambda: exact.fit(paths, held, seed=0, watch=ignore_epoch),
    }
    clocks: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            clocks[name].append(time.process_time() - start)
    return {name: median(taken) for name, taken in clocks.items()}


def measure() -> dict[str, float]:
    """Measure in a separate process with one thread."""
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    out = subprocess.run([sys.executable, __file__], capture_output=True, check=True, env=alone)
    return json.loads(out.stdout)


if __name__ == "__main__":
    print(json.dumps(work()))
