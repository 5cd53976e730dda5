"""Comparison of sdelens with other tools on the same data, written to docs/peers.md.

python bench/peers.py                        measure everything, in an hour or more
python bench/peers.py double-well --seeds 1  measure one system and keep the other results
python bench/peers.py --only sdelens         measure one tool and keep the other results
python bench/peers.py --page                 write the page from bench/peers.json

Each tool has its own environment, created on first use under ~/.cache/sdelens-peers.
"""

import argparse
import json
import math
import os
import platform
import signal
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import normal_equations
import numpy as np
import torch
from peers_page import page
from rivals import HOME, LINEAR, NONLINEAR, RIVALS, Rival, interpreter

from sdelens.testing import System, diffeomorphic, double_well, ornstein_uhlenbeck

HERE = Path(__file__).parent
RESULTS = HERE / "peers.json"
PAGE = HERE.parent / "docs" / "peers.md"
TRANSITIONS, POINTS = 20_000, 500
LIMIT = 240
"""Maximum processor time of a fit, in seconds."""
TOO_SLOW = f"stopped after {LIMIT} s of processor time"
AGAIN = 30
"""A fit that takes fewer seconds than this is repeated with further seeds."""


def system_of(name: str) -> System:
    """Reference system by name, with default parameters."""
    if name == "double-well":
        return double_well()
    if name == "diffeomorphic-8":
        return diffeomorphic()
    return ornstein_uhlenbeck(int(name.rpartition("-")[2]))


def attempt(rival: Rival, system: System, seed: int) -> dict:
    """One fit in a separate process: accuracy, seconds and memory, or the reason of failure."""
    try:
        python = interpreter(rival)
    except subprocess.CalledProcessError as error:
        return {"failed": f"does not install: {error.stderr.strip().splitlines()[-1]}"}
    with TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "states.npy", path_of(system, seed))
        points = system.simulate(POINTS, 1, seed=1000 + seed)[:, 0]
        np.save(folder / "points.npy", points.numpy())
        degree = 1 if system.name in LINEAR else 3
        task = {"setting": rival.setting, "dt": system.dt, "degree": degree, "limit": LIMIT}
        (folder / "task.json").write_text(json.dumps(task))
        worker = HERE / "peers" / f"with_{rival.worker}.py"
        alone = os.environ | {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
        ended = subprocess.run([python, worker, folder], capture_output=True, env=alone)
        if ended.returncode == -signal.SIGXCPU:
            return {"failed": TOO_SLOW}
        if not (folder / "found.json").exists():
            return {"failed": "the process died, most likely out of memory"}
        found = json.loads((folder / "found.json").read_text())
        if "failed" in found:
            return found
        with np.load(folder / "found.npz") as fields:
            return found | accuracy(system, points, fields["drift"], fields["covariance"])


def path_of(system: System, seed: int) -> np.ndarray:
    """One path of a system, shape ``[time, dim]``, cached on disk."""
    file = HOME / "data" / f"{system.name}-{seed}-{TRANSITIONS}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, system.simulate(1, TRANSITIONS + 1, seed)[0].numpy())
    return np.load(file)


def accuracy(system: System, points, drift, covariance) -> dict[str, float]:
    """Relative errors on stationary states: mean square for the drift, norm for the covariance."""
    x = points.double()
    true_drift, true_covariance = system.drift(x), system.covariance(x)
    if true_covariance.stride(0) == 0 and len(covariance) == 1:
        true_covariance = true_covariance[:1]  # both are constant: compare without copies
    errors = torch.from_numpy(drift).double() - true_drift
    misses = torch.from_numpy(covariance).double() - true_covariance
    return {
        "drift_nmse": float(errors.square().mean() / true_drift.square().mean()),
        "covariance_error": math.sqrt(misses.square().mean() / true_covariance.square().mean()),
    }


def rows_of(name: str, seeds: int, systems: dict[str, list[dict]], only: str | None) -> list[dict]:
    """Rows of all tools on one system; with `only`, earlier rows of the others are kept."""
    before = {(row["peer"], row["setting"]): row for row in systems.get(name, [])}
    rows = []
    for rival in RIVALS:
        if name not in rival.systems:
            continue
        row = before.get((rival.worker, rival.setting))
        if row is None or only in (None, rival.worker):
            row = measured(rival, name, seeds, systems)
            print(name, rival.worker, rival.setting, row["tries"][0], flush=True)
        rows.append(row)
    return rows


def measured(rival: Rival, name: str, seeds: int, systems: dict[str, list[dict]]) -> dict:
    """Row of one tool on one system; fast fits are repeated with further seeds."""
    reason = exhausted(rival, name, systems)
    tries = [{"failed": reason} if reason else attempt(rival, system_of(name), 0)]
    if tries[0].get("seconds", AGAIN) < AGAIN:
        tries += [attempt(rival, system_of(name), seed) for seed in range(1, seeds)]
    return {"peer": rival.worker, "setting": rival.setting, "given": rival.given, "tries": tries}


def exhausted(rival: Rival, name: str, systems: dict[str, list[dict]]) -> str:
    """Reason to skip a fit: the tool exceeded the time limit in a lower dimension; or empty."""
    for other in LINEAR[: LINEAR.index(name)] if name in LINEAR else ():
        for row in systems.get(other, []):
            same = (row["peer"], row["setting"]) == (rival.worker, rival.setting)
            if same and row["tries"][0].get("failed") == TOO_SLOW:
                return f"not tried: {TOO_SLOW} at d = {other.rpartition('-')[2]}"
    return ""


def main() -> None:
    """Measure the named systems, keep other results, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*LINEAR, *NONLINEAR, []])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=[*{rival.worker: 0 for rival in RIVALS}])
    parser.add_argument("--page", action="store_true")
    chosen = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"systems": {}}
    results |= {"transitions": TRANSITIONS, "limit": LIMIT, "again": AGAIN}
    if not chosen.page:
        results["normal_equations"] = normal_equations.measure()
    for name in [] if chosen.page else chosen.names or [*LINEAR, *NONLINEAR]:
        results["systems"][name] = rows_of(name, chosen.seeds, results["systems"], chosen.only)
        results["machine"] = f"{platform.system()}, Python {platform.python_version()}"
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(page(results))
    print(PAGE)


if __name__ == "__main__":
    main()
