"""Write docs/evidence.md, whose numbers all come from runs.

python tools/evidence.py make              fit and analyze, then collect and write
python tools/evidence.py collect FOLDER... collect finished runs in docs/evidence.json, then write
python tools/evidence.py write             write docs/evidence.md from docs/evidence.json
python tools/evidence.py check FOLDER...   fail if a run differs from docs/evidence.json
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2

from sdelens.evidence.evidence import BEYOND

DOCS = Path(__file__).parents[1] / "docs"
DATA, PAGE = DOCS / "evidence.json", DOCS / "evidence.md"
TEMPLATE = Path(__file__).with_name("evidence.md.jinja")
SHARED = Path(__file__).parents[2] / "shared" / "models"
RUNS = {
    "tiny": ("--layer", "6"),
    "TinyStories-656K": ("--layer", "1"),
    "stories260K": ("--layer", "2"),
    "char-gpt2-shakespeare": ("--layer", "2", "--documents", "2048"),
}
"""Options of `sdelens fit` by model: the embedded one, and three small ones if available."""
EFFECTS = {
    "lack of fit of the mean": "lack of fit",
    "memory of the mean": "memory: mean",
    "memory of the scale": "memory: scale",
    "change of the mean along the path": "time: mean",
    "differences of level between paths": "paths: level",
    "mixture over Gaussian": "mixture",
    "embeddable in a linear SDE": "embeddable",
}
"""Effects of the verdict in the table, with the headings of their columns."""
NULLS = ("these data", "states permuted in time", "tokens permuted", "untrained model")
ANALYZERS = ("goodness_of_fit", "verdict")
SCORES = (
    "increment_r2",
    "noise_column",
    "held_out_documents",
    "transitions",
    "tokens",
    "linear_drift_error",
    "fit",
    "baselines",
)


def collected(folder: Path) -> dict[str, Any]:
    """Numbers of a single-layer run, from its metrics.json and finding.json files."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (fit,) = (folder / "fits").glob("*/metrics.json")
    metrics = json.loads(fit.read_text())
    found: dict[str, Any] = {
        "model": Path(manifest["model"]["name"]).name,
        "width": manifest["model"]["width"],
        "view": fit.parent.name,
        "metrics": {name: metrics[name] for name in SCORES},
    }
    for analyzer in ANALYZERS:
        (file,) = (folder / "analysis" / analyzer).glob("*/finding.json")
        finding = json.loads(file.read_text())
        numbers = {e["name"]: [e["value"], e["stderr"]] for e in finding["estimates"]}
        said = {"headline": finding["headline"], "details": finding["details"]}
        found[analyzer] = said | {"estimates": numbers}
    return found


def made() -> list[Path]:
    """Fit and analyze the runs that are not finished; return their folders."""
    folders = []
    for model, options in RUNS.items():
        name = model if model == "tiny" else str(SHARED / model)
        folder = Path("runs") / "evidence" / model
        if model == "tiny" or Path(name).is_dir():
            _sdelens("fit", "--model", name, *options, "--out", str(folder), "--resume")
            _sdelens("analyze", str(folder), *ANALYZERS)
            folders.append(folder)
    return folders


def _sdelens(*words: str) -> None:
    subprocess.run([Path(sys.executable).with_name("sdelens"), *words], check=True)


def rendered(runs: list[dict[str, Any]]) -> str:
    """Text of the page."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["pm"] = lambda pair: _with_error(*pair)
    environment.filters["effect"] = _effect
    environment.globals["gain"] = _gain
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(
        runs=runs,
        effects=EFFECTS,
        nulls=NULLS,
        marginal="inside each coordinate's interval, 90%",
        joint="inside the ellipsoid of all, 90%",
    ).replace("\n\n\n", "\n\n")


def _with_error(value: float, stderr: float | None) -> str:
    return f"{value:.3f}" if stderr is None else f"{value:.3f} ± {stderr:.3f}"


def _effect(estimates: dict[str, list[float]], name: str) -> str:
    """An effect of the verdict; beyond that of the fit if the fit has one of its own."""
    found = {each.removesuffix(BEYOND): pair for each, pair in estimates.items()}
    return _with_error(*found[name]) if name in found else ""


def _gain(run: dict[str, Any], name: str, column: str = "") -> list[float]:
    """Gain of the fit over a baseline in a column of the scores, and its standard error."""
    row = run["metrics"]["baselines"][name]
    return [row[f"gain_of_fit{column}"], row[f"gain_of_fit{column}_stderr"]]


def main(words: list[str]) -> None:
    """Run one of the four commands."""
    verb, folders = words[0], [Path(word) for word in words[1:]]
    if verb == "make":
        folders = made()
    if verb in ("make", "collect"):
        runs = [collected(folder) for folder in folders]
        DATA.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n")
    if verb in ("make", "collect", "write"):
        PAGE.write_text(rendered(json.loads(DATA.read_text())))
    elif verb == "check":
        kept = {run["model"]: run for run in json.loads(DATA.read_text())}
        for run in map(collected, folders):
            if run != kept.get(run["model"]):
                sys.exit(f"docs/evidence.json is stale for {run['model']}: run make evidence")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:] or ["help"])
