"""How much of the motion of four models is drift: the tables of docs/motion.md.

python tools/motion.py --models FOLDER    fits every layer of all four, then writes the tables
python tools/motion.py --tables           from the findings that are there already

The embedded model, and three small public ones, each in a folder of FOLDER that has its name here:
raincandy-u's TinyStories-656K, karpathy's stories260K and jt-thorpe's char-GPT, in the format of
transformers.
"""

import argparse
from itertools import product
from pathlib import Path

from sdelens.runs.engine import execute
from sdelens.runs.findings import load_finding
from sdelens.runs.job import Job
from sdelens.runs.reporting import analyze

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
"""After the name of a model: its last layer, with a covariance that has all correlations."""
RIVALS = ("i.i.d. per position", "token", "linear + token")
SAVING = (
    "| model, layer | documents | saving | of the ceiling | theory | for each token |\n"
    "|---|---|---|---|---|---|"
)


def made(runs: Path, models: Path) -> None:
    """Every layer of all models, fitted by a linear drift, and asked."""
    for name in MODELS:
        model = name if name == "tiny" else str(models / name)
        run = execute(Job(model=model, layers="all", probe="linear"), runs / name, resume=True)
        analyze(run, list(SETTINGS), settings=SETTINGS)
        analyze(run, ["branched_target"], view=run.views[-1])
        full = Job(model=model, layers="-1", probe="linear", probe_settings={"noise": "full"})
        run = execute(full, runs / f"{name}{FULL}", resume=True)
        analyze(run, ["transition_law"], settings={"transition_law": SETTINGS["transition_law"]})


def finding(runs: Path, name: str, analyzer: str):
    """The one of a run."""
    (file,) = (runs / name / "analysis" / analyzer).glob("*/finding.json")
    found = load_finding(file.parent)
    return found, {estimate.name: estimate for estimate in found.estimates}


def views(estimates) -> list[str]:
    """The layers that a finding is of."""
    return [name.removesuffix(": motion") for name in estimates if name.endswith(": motion")]


def cell(estimate, digits: int = 3) -> str:
    """A value with its standard error."""
    return f"{estimate.value:.{digits}f} ± {estimate.stderr:.{digits}f}"


def shares(runs: Path) -> str:
    """Shares by layer."""
    rows = [HEAD]
    for name in MODELS:
        _, found = finding(runs, name, "decomposition")
        for view in (one for one in views(found) if "," not in one):
            parts = " | ".join(cell(found[f"{view}: {part}"]) for part in PARTS)
            gain = cell(found[f"{view}: gain of drift"])
            mean = cell(found[f"{view}: return to the mean alone"])
            off = found[f"{view}: motion by branches, less 1"]
            rows.append(
                f"| {name} {view} | {mean} | {gain} | {parts} "
                f"| {off.value:+.4f} ± {off.stderr:.4f} |"
            )
    return "\n".join(rows)


def laws(runs: Path) -> str:
    """The law at the last layer of each."""
    rows = [LAW]
    for name in MODELS:
        _, found = finding(runs, name, "transition_law")
        last = last_of(found)
        noise = found[f"{last}: trace of the fit's noise"].value
        words = [
            cell(found["entropy of the next token, all prefixes"], 2),
            cell(found["effective branches, exp of the entropy, all prefixes"], 1),
            cell(found[f"{last}: trace of S*"]),
            f"{found[f'{last}: trace of S* + (m* - m)²'].value:.3f}",
            f"{noise:.3f}",
            cell(found[f"{last}: trace of the fit's noise over S* + (m* - m)²"]),
        ]
        rows.append(f"| {name} {last} | " + " | ".join(words) + " |")
    return "\n".join(rows)


def last_of(found) -> str:
    """The last layer of a finding."""
    return [name.partition(":")[0] for name in found if name.endswith("trace of S*")][-1]


def fits(runs: Path) -> str:
    """Directions and cross-entropies at the last layer of each."""
    rows = [FIT]
    for name, noise in product(MODELS, ("", FULL)):
        _, found = finding(runs, f"{name}{noise}", "transition_law")
        last = last_of(found)
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
        words = [*(cell(e, 2) for e in overlap[:2]), f"{overlap[2].value:.2f}"]
        words.append(cell(found[f"{last}: cross-entropy of the model's law under the fit"]))
        for rival in RIVALS:
            more = found[f"{last}: cross-entropy under {rival}, less the fit's"]
            words.append(f"{more.value:+.3f} ± {more.stderr:.3f}")
        off = found[f"{last}: minus log density of what occurred, less that"]
        words.append(f"{off.value:+.4f} ± {off.stderr:.4f}")
        kind = "full" if noise else "diagonal"
        rows.append(f"| {name} {last} | {kind} | " + " | ".join(words) + " |")
    return "\n".join(rows)


def saved(runs: Path) -> str:
    """What eight branches save at the last layer of each."""
    rows = [SAVING]
    for name in MODELS:
        finding_, found = finding(runs, name, "branched_target")
        ceiling = found["ceiling, 1 + sampling noise / unexplained"].value
        theory = found["saving by theory, 8 branches"].value
        for key, one in found.items():
            if not (key.startswith("saving, squared") and key.endswith("documents")):
                continue
            documents = key.split(", ")[-1].removesuffix(" documents")
            each = found[f"{key}, for each token through the model"]
            interval = one.unit.partition("95% ")[2]
            rows.append(
                f"| {name} {finding_.view} | {documents} | {one.value:.2f} {interval} "
                f"| {one.value / ceiling:.2f} of {ceiling:.2f} | {theory:.2f} | {each.value:.2f} |"
            )
    return "\n".join(rows)


def written(page: str, name: str, table: str) -> str:
    """The page with a table between its marks."""
    start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
    head, found, rest = page.partition(start)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise SystemExit(f"{PAGE} has no place for {name}: {start.strip()} … {end}")
    return f"{head}{start}{table}\n{end}{tail}"


def main() -> None:
    """Fit if asked for, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "motion")
    parser.add_argument("--models", type=Path, help="where folders of the three models are")
    parser.add_argument("--tables", action="store_true")
    options = parser.parse_args()
    if not options.tables:
        if options.models is None:
            parser.error("give --models FOLDER, which has a folder for each of the three models")
        made(options.runs, options.models)
    page = PAGE.read_text()
    for name, table in (("shares", shares), ("laws", laws), ("fits", fits), ("saved", saved)):
        page = written(page, name, table(options.runs))
    PAGE.write_text(page)
    print(PAGE)


if __name__ == "__main__":
    main()
