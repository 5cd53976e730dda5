"""Planned memory and disk of a linear fit, against what the fit then takes.

python bench/plan.py FOLDER...    folders or GGUF files of models; without any, the embedded model

Each fit runs in a process of its own, with an empty cache. Memory is the peak of the resident set,
disk the size of the captured states.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import analyzers
from analyzers import SDELENS, measured

TEXTS = ("--documents", "64", "--length", "100", "--probe", "linear")


def compared(model: str) -> dict:
    """Pairs of what is planned and measured for a linear fit of the middle layer of a model."""
    with TemporaryDirectory() as folder:
        analyzers.RUNS = Path(folder)
        os.environ["SDELENS_CACHE"] = f"{folder}/cache"
        fit = ("fit", "--model", model, *TEXTS, "--out", f"{folder}/run")
        measured("models", "check", model)  # converts a GGUF file
        command = [*SDELENS, *fit, "--dry-run", "--json"]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        plan = json.loads(out.stdout)["plan"]
        found = measured(*fit)
        states = Path(folder, "cache", "states")
        disk = sum(file.stat().st_size for file in states.rglob("*.safetensors"))
    return {
        "model": Path(model).name,
        "memory": (plan["memory_bytes"] / 2**20, found["mebibytes"]),
        "disk": (plan["disk_bytes"] / 2**20, disk / 2**20),
        "seconds": found["seconds"],
        "processor": found["processor"],
    }


def measure(models: tuple[str, ...] = ("tiny",)) -> list[dict]:
    """Compare plan and measurement for each model."""
    return [compared(model) for model in models]


if __name__ == "__main__":
    for row in measure(tuple(sys.argv[1:]) or ("tiny",)):
        print(row, flush=True)
