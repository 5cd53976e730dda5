"""Time of `sdelens --help` and of a usage error, against that of importing torch."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

SDELENS = Path(sys.executable).with_name("sdelens")


def seconds(*command: str) -> float:
    """Wall time of a command in seconds."""
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start


def measure(rounds: int = 7) -> dict[str, float]:
    """Medians over interleaved runs, and ratios to the import of torch."""
    commands = {
        "help": (str(SDELENS), "--help"),
        "usage_error": (str(SDELENS), "fit", "--layer", "six"),
        "import_torch": (sys.executable, "-c", "import torch"),
    }
    rows = [{name: seconds(*command) for name, command in commands.items()} for _ in range(rounds)]
    found = {name: median(row[name] for row in rows) for name in commands}
    shares = {
        f"{name}_share": median(row[name] / row["import_torch"] for row in rows)
        for name in ("help", "usage_error")
    }
    return found | shares


if __name__ == "__main__":
    print(measure())
