"""All benchmarks, side by side in one run; the tables go into docs/benchmarks.md.

python bench/run.py                 everything
python bench/run.py fit startup     some of it: the other sections stay as they are
"""

import argparse
import importlib
import json
import os
import platform
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
RESULTS = HERE / "results.json"
sys.path.insert(0, str(HERE))

HEAD = """# Benchmarks

Written by `make bench`. Every figure is a ratio, or stands beside what it is compared with,
measured in turns in one run: absolute times depend on the machine and on what else it does.
"""


def capture(rows) -> str:
    """Capture against a hand-written pass."""
    lines = [
        f"| {row['layer']} | {row['shape']} | {row['tokens_per_second']:,.0f} "
        f"| {row['ratio']:.2f} |"
        for row in rows
    ]
    return (
        "## Capture\n\nA pass of a randomly initialised full-size GPT-2 (12 blocks, d 768) that "
        "reads one block's output, against a hand-written Hugging Face pass cut off after the "
        "same block. Medians of interleaved passes.\n\n"
        "| layer | tokens | tokens/s | ratio to hand-written |\n|---|---|---|---|\n"
        + "\n".join(lines)
    )


def fit(row) -> str:
    """The neural fit against a plain loop."""
    return (
        "## Neural fit\n\nSteps of the neural probe (d 128, widths 384 and 256) against "
        "the shortest hand-written torch loop of the same arithmetic, validation included.\n\n"
        "| | steps/s |\n|---|---|\n"
        f"| `neural` | {row['steps_per_second']:.1f} |\n"
        f"| by hand | {row['steps_per_second_by_hand']:.1f} |\n"
        f"| ratio of the fastest epochs | {row['ratio']:.2f} |"
    )


def scale(rows) -> str:
    """Log densities by the form of the noise."""
    lines = [f"| {row['noise']} | {row['ms']:.2f} | {row['ratio']:.2f} |" for row in rows]
    return (
        "## Noise\n\nA log density of 256 residuals in 768 dimensions, float32, medians of "
        "interleaved rounds.\n\n| noise | ms | ratio to diagonal |\n|---|---|---|\n"
        + "\n".join(lines)
    )


def startup(row) -> str:
    """The command line before torch is needed."""
    return (
        "## Start\n\n| | seconds | share of `import torch` |\n|---|---|---|\n"
        f"| `sdelens --help` | {row['help']:.2f} | {row['help_share']:.2f} |\n"
        f"| `sdelens fit --layer six` | {row['usage_error']:.2f} "
        f"| {row['usage_error_share']:.2f} |\n"
        f'| `python -c "import torch"` | {row["import_torch"]:.2f} | 1 |'
    )


def memory(found) -> str:
    """Peak memory by corpus size."""
    rows = "\n".join(
        f"| {s['tokens']:,} | {s['capture'] / 2**20:.0f} | {s['capture_and_fit'] / 2**20:.0f} |"
        for s in found["sizes"]
    )
    return (
        "## Memory\n\nPeak anonymous memory (RssAnon) of capture and of capture and fit on the "
        "embedded model, baselines included.\n\n"
        "| tokens | capture, MiB | capture and fit, MiB |\n|---|---|---|\n"
        f"{rows}\n\nRatio of the last to the first: {found['ratio']:.3f}."
    )


def branch(rows) -> str:
    """Branching against bare steps."""
    lines = [
        f"| {row['model']} | {row['shape']} | {row['tokens_per_second']:,.0f} "
        f"| {row['by_step']:,.0f} | {row['ratio']:.2f} |"
        for row in rows
    ]
    return (
        "## Branching\n\nTwo next tokens after every prefix of some texts, all blocks read: "
        "tokens fed a second, reading the texts and drawing included, against a bare batched "
        "step of one new token behind a cached prefix, which is there already. Medians of "
        "interleaved rounds.\n\n"
        "| model | texts | tokens/s | by bare steps | ratio |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
    )


def tinystories(found) -> str:
    """Means by noise on TinyStories-656K."""
    labels = {
        "random_walk": "random walk",
        "constant": "random walk, drift per position",
        "iid": "i.i.d.",
        "iid_position": "i.i.d. per position",
        "token": "token",
        "linear": "linear",
        "linear_token": "linear + token",
        "fit": "**neural**",
    }
    scores = found["diagonal"]
    everything = scores["baselines"] | {"fit": scores["fit"]}
    lines = []
    for name, label in labels.items():
        row = everything[name]
        cells = [_cell(row, f"nll_per_dim{noise}") for noise in ("", "_state_dependent")]
        gains = [_cell(row, f"gain_of_fit{noise}") for noise in ("", "_state_dependent")]
        gains = ["", ""] if name == "fit" else gains
        lines.append(
            f"| {label} | " + " | ".join([*cells, *gains]) + f" | {row['increment_r2']:.3f} |"
        )
    correlated = "\n".join(
        f"| `{noise}` | {_nll(s)} | {_nll(s['undropped'])} |" for noise, s in found.items()
    )
    linear = scores["undropped"]["baselines"]["linear"]
    undropped = " and ".join(
        _cell(linear, f"gain_of_fit{noise}") for noise in ("", "_state_dependent")
    )
    return (
        "## TinyStories-656K, layer 1\n\n"
        "768 texts of BOS and 200 tokens sampled from the model (temperature 1, end of text "
        "banned), standardised states, positions from 1 on; 77 held-out documents, "
        f"{scores['transitions']:,} test transitions after those whose whole prefix occurs in "
        "training were dropped. Nats per dimension ± standard error over documents; gains of the "
        "neural fit are paired.\n\n"
        "| mean | constant | state-dependent | gain, constant | gain, state-dependent | R² |\n"
        "|---|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n\nOn all test transitions, those with a known prefix included, the paired gains over "
        f"linear are {undropped}.\n\nThe neural fit by its noise:\n\n"
        "| noise | nats per dimension | on all test transitions |\n|---|---|---|\n" + correlated
    )


def _nll(scores) -> str:
    return f"{scores['held_out_nll_per_dim']:.4f} ± {scores['held_out_nll_stderr']:.4f}"


def _cell(row, key: str) -> str:
    return f"{row[key]:.3f} ± {row[f'{key}_stderr']:.3f}"


SECTIONS = {
    "startup": startup,
    "capture": capture,
    "fit": fit,
    "scale": scale,
    "memory": memory,
    "branch": branch,
    "tinystories": tinystories,
}


def main() -> None:
    """Measure what is named, keep the rest, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SECTIONS, []])
    names = parser.parse_args().names or list(SECTIONS)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in names:
        print(name, flush=True)
        results[name] = importlib.import_module(name).measure()
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    parts = [
        HEAD,
        f"Last run on {machine}.",
        *(section(results[name]) for name, section in SECTIONS.items() if name in results),
    ]
    PAGE.write_text("\n\n".join(parts) + "\n")
    print(PAGE)


if __name__ == "__main__":
    main()
