"""Write the tables of docs/motion.md: how much of the motion of four models is drift.

python tools/motion.py --models FOLDER    fit every layer of all models, then write the tables
python tools/motion.py --tables           write the tables from existing findings

The models are the embedded one and three small public ones, each in a subfolder of FOLDER with the
name in `MODELS`: raincandy-u's TinyStories-656K, karpathy's stories260K and jt-thorpe's char-GPT,
in the format of transformers.
"""

import argparse
from itertools import product
from pathlib import Path

from sdelens.runs.engine import execute
from sdelens.runs.findings import load_finding
from sdelens.runs.job import Job
from sdelens.runs.run_analyzers import analyze

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "motion.md"
MODELS = ("tiny", "TinyStories-656K", "stories260K", "char-gpt2-shakespeare")
PARTS = ("drift", "lack of fit", "memory", "unexplained", "sampling noise")
SETTINGS = {name: {"every": 1} for name in ("transition_law", "decomposition")}
HEAD = (
    "| model, layer | mean alone | gain | drift | lack of fit | memory | unexplained "
    "| sampling noise | motion to branches |\n|---|---|---|---|---|---|---|---|---|"
)
LAW = (
    "| model, layer | nats | effective branches | tr S* | tr S* + (m* - m)² | tr Σ | ratio |\n"
    "|---|---|---|---|---|---|---|"
)
FIT = (
    "| model, layer | noise | overlap with S* + (m* - m)² | with S* | between halves "
    "| cross-entropy | i.i.d. per position | token | linear + token | occurred |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
FULL = "-full"
"""Suffix of runs that fit the last layer of a model with a full covariance."""
RIVALS = ("i.i.d. per position", "token", "linear + token")
SAVING = (
    "| model, layer | documents | saving | of the ceiling | theory | for each token |\n"
    "|---|---|---|---|---|---|"
)


def make(runs: Path, models: Path) -> None:
    """Fit every layer of all models with a linear drift, and analyze the fits."""
    for name in MODELS:
        model = name if name == "tiny" else str(models / name)
        run = execute(Job(model=model, layers="all", probe="linear"), runs / name, resume=True)
        analyze(run, list(SETTINGS), settings=SETTINGS)
        analyze(run, ["branched_target"], view=run.views[-1])
        full = Job(model=model, layers="-1", probe="linear", probe_settings={"noise": "full"})
        run = execute(full, runs / f"{name}{FULL}", resume=True)
        analyze(run, ["transition_law"], settings={"transition_law": SETTINGS["transition_law"]})


def finding(runs: Path, name: str, analyzer: str):
    """The single finding of an analyzer in a run, and its estimates by name."""
    (file,) = (runs / name / "analysis" / analyzer).glob("*/finding.json")
    found = load_finding(file.parent)
    return found, {estimate.name: estimate for estimate in found.estimates}


def last_layer(estimates) -> str:
    """The last layer in the estimates of `transition_law`."""
    return [name.partition(":")[0] for name in estimates if name.endswith("trace of S*")][-1]


def cell(estimate, digits: int = 3, sign: str = "") -> str:
    """A value with its standard error."""
    return f"{estimate.value:{sign}.{digits}f} ± {estimate.stderr:.{digits}f}"


def table(head: str, rows: list[list[str]]) -> str:
    """A Markdown table from its head and the cells of its rows."""
    return "\n".join([head, *(f"| {' | '.join(cells)} |" for cells in rows)])


def shares(runs: Path) -> str:
    """Table of the shares of the motion by layer."""
    rows = []
    for name in MODELS:
        _, found = finding(runs, name, "decomposition")
        views = [key.removesuffix(": motion") for key in found if key.endswith(": motion")]
        for view in (view for view in views if "," not in view):
            parts = ("return to the mean alone", "gain of drift", *PARTS)
            cells = [cell(found[f"{view}: {part}"]) for part in parts]
            excess = cell(found[f"{view}: motion by branches, minus 1"], 4, "+")
            rows.append([f"{name} {view}", *cells, excess])
    return table(HEAD, rows)


def laws(runs: Path) -> str:
    """Table of the next-state law at the last layer of each model."""
    rows = []
    for name in MODELS:
        _, found = finding(runs, name, "transition_law")
        last = last_layer(found)
        noise = found[f"{last}: trace of the fit's noise"].value
        cells = [
            cell(found["entropy of the next token, all prefixes"], 2),
            cell(found["effective branches, exp of the entropy, all prefixes"], 1),
            cell(found[f"{last}: trace of S*"]),
            f"{found[f'{last}: trace of S* + (m* - m)²'].value:.3f}",
            f"{noise:.3f}",
            cell(found[f"{last}: trace of the fit's noise over S* + (m* - m)²"]),
        ]
        rows.append([f"{name} {last}", *cells])
    return table(LAW, rows)


def fits(runs: Path) -> str:
    """Table of noise directions and cross-entropies at the last layer of each model."""
    rows = []
    for name, noise in product(MODELS, ("", FULL)):
        _, found = finding(runs, f"{name}{noise}", "transition_law")
        last = last_layer(found)
        overlap = [
            next(
                e for k, e in found.items() if k.startswith(f"{last}: {start}") and k.endswith(to)
            )
            for start, to in (
                ("overlap of the leading", "with S* + (m* - m)²"),
                ("overlap of the leading", "with S*"),
                ("the same between halves", "S* + (m* - m)²"),
            )
        ]
        rivals = [
            found[f"{last}: cross-entropy under {rival}, minus the fit's"] for rival in RIVALS
        ]
        rows.append(
            [
                f"{name} {last}",
                "full" if noise else "diagonal",
                *(cell(e, 2) for e in overlap[:2]),
                f"{overlap[2].value:.2f}",
                cell(found[f"{last}: cross-entropy of the model's law under the fit"]),
                *(cell(excess, 3, "+") for excess in rivals),
                cell(found[f"{last}: minus log density of what occurred, less that"], 4, "+"),
            ]
        )
    return table(FIT, rows)


def savings(runs: Path) -> str:
    """Table of the sample savings from eight branches at the last layer of each model."""
    rows = []
    for name in MODELS:
        saving, found = finding(runs, name, "branched_target")
        ceiling = found["ceiling, 1 + sampling noise / unexplained"].value
        theory = found["saving by theory, 8 branches"].value
        for key, one in found.items():
            if not (key.startswith("saving, squared") and key.endswith("documents")):
                continue
            cells = [
                f"{name} {saving.view}",
                key.split(", ")[-1].removesuffix(" documents"),
                f"{one.value:.2f} {one.unit.partition('95% ')[2]}",
                f"{one.value / ceiling:.2f} of {ceiling:.2f}",
                f"{theory:.2f}",
                f"{found[f'{key}, for each token through the model'].value:.2f}",
            ]
            rows.append(cells)
    return table(SAVING, rows)


def with_table(page: str, name: str, text: str) -> str:
    """The page with a table inserted between its markers."""
    start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    head, found, rest = page.partition(start)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise SystemExit(
            f"expected markers {start.strip()} … {end} in {PAGE}, found none: add them"
        )
    return f"{head}{start}{text}\n{end}{tail}"


def main() -> None:
    """Fit the models unless `--tables` is given, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "motion")
    parser.add_argument("--models", type=Path, help="folder of the three public models")
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if not options.tables:
        if options.models is None:
            parser.error(
                "give --models FOLDER, which has a subfolder for each of the three models"
            )
        make(options.runs, options.models)
    page = PAGE.read_text()
    for name, text in (("shares", shares), ("laws", laws), ("fits", fits), ("saved", savings)):
        page = with_table(page, name, text(options.runs))
    PAGE.write_text(page)
    print(PAGE)


if __name__ == "__main__":
    main()
