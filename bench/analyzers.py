"""Seconds and peak memory of each analyzer on real models, each in a process of its own.

python bench/analyzers.py models                  measure what is not measured yet
python bench/analyzers.py models steering losses  measure these again

`models` is a folder with the GGUF files of `MODELS`, of which some may be absent. The figures are
those of the whole command, with the start of Python and the loading of the model. Finished
measurements are kept in runs/bench, so that an interrupted bench continues.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from sdelens.registry import plugins

RUNS = Path("runs") / "bench"
LIMIT = 1800.0
"""Seconds after which a command is ended."""
SDELENS = (sys.executable, "-c", "from sdelens_cli.main import main; main()")


@dataclass(frozen=True)
class RealModel:
    """A real model, the fit whose analyzers are measured, and what each analyzer may take."""

    file: str
    layer: int
    documents: int
    length: int
    seconds: int
    mebibytes: int

    @property
    def run(self) -> Path:
        """The folder of the fit."""
        return RUNS / self.file.partition(".")[0]

    @property
    def measurements(self) -> Path:
        """The file of finished measurements."""
        return self.run.with_suffix(".json")

    def fit(self, folder: Path) -> tuple[str, ...]:
        """The arguments of the fit."""
        texts = ("--documents", str(self.documents), "--length", str(self.length))
        model = ("--model", str(folder / self.file), "--layer", str(self.layer))
        return ("fit", *model, *texts, "--probe", "linear", "--out", str(self.run), "--resume")


MODELS = (
    RealModel("SmolLM2-135M-Instruct.Q4_1.gguf", 15, 64, 100, seconds=120, mebibytes=4096),
    RealModel("gemma-3-270m-q4_k_m.gguf", 9, 32, 60, seconds=180, mebibytes=6144),
)


def measured(*arguments: str) -> dict:
    """Seconds, processor seconds, peak memory and exit code of a command, and its last words."""
    start, words = time.perf_counter(), RUNS / "stderr.txt"
    with words.open("w+") as stderr:
        process = subprocess.Popen(
            [*SDELENS, *arguments], stdout=subprocess.DEVNULL, stderr=stderr
        )
        clock = Timer(LIMIT, process.kill)
        clock.start()
        _, status, used = os.wait4(process.pid, 0)
        clock.cancel()
    return {
        "seconds": time.perf_counter() - start,
        "processor": used.ru_utime + used.ru_stime,
        "mebibytes": used.ru_maxrss / 1024,
        "code": os.waitstatus_to_exitcode(status),
        "words": words.read_text().strip()[-300:],
    }


def table_of(model: RealModel, folder: Path, again: tuple[str, ...]) -> dict[str, dict]:
    """The measurements of all analyzers of a model, one by one."""
    file = model.measurements
    file.parent.mkdir(parents=True, exist_ok=True)
    found = json.loads(file.read_text()) if file.exists() else {}
    for name in ("fit", *plugins("analyzer")):
        if name in found and name not in again:
            continue
        if name == "fit":
            found[name] = measured(*model.fit(folder))
        else:
            found[name] = measured("analyze", str(model.run), name)
        file.write_text(json.dumps(found, indent=1) + "\n")
        print(model.file, name, {k: v for k, v in found[name].items() if k != "words"}, flush=True)
    return found


def measure(folder: Path = Path("models"), again: tuple[str, ...] = ()) -> list[dict]:
    """The measurements and limits of each model whose file is in the folder."""
    there = [model for model in MODELS if (folder / model.file).exists()]
    if not there:
        raise FileNotFoundError(f"none of {[m.file for m in MODELS]} is in {folder}")
    return [{**vars(model), "analyzers": table_of(model, folder, again)} for model in there]


def main() -> None:
    """Measure analyzers of the models in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path)
    parser.add_argument("again", nargs="*", choices=["fit", *plugins("analyzer"), []])
    given = parser.parse_args()
    measure(given.models, tuple(given.again))


if __name__ == "__main__":
    main()
