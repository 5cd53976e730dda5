"""The model card of a run for the hub."""

import json
import re
from collections.abc import Iterator
from importlib.metadata import version

from sdelens.report import Report, Table
from sdelens.runs.run import Run
from sdelens.runs.run_report import report_of
from sdelens.wording import counted

COMMIT = re.compile("[0-9a-f]{40}")
TAGS = ("sdelens", "interpretability", "stochastic-differential-equations")


def model_card(run: Run, name: str) -> str:
    """Markdown with the hub's metadata in front."""
    report = report_of(run)
    return "\n".join([*_metadata(run), *_body(run, report, name), ""])


def _metadata(run: Run) -> Iterator[str]:
    # JSON strings are valid YAML strings
    model = run.manifest["model"]
    yield "---"
    yield "library_name: sdelens"
    if COMMIT.fullmatch(model["revision"]):  # other names need not exist on the hub
        yield f"base_model: {json.dumps(model['name'])}"
    yield "tags:"
    yield from (f"- {tag}" for tag in TAGS)
    yield "---"


def _body(run: Run, report: Report, name: str) -> Iterator[str]:
    model = run.manifest["model"]
    yield f"\n# {_plain(report.title)}\n"
    yield (
        "The dynamics of residual-stream states from token to token, fitted by "
        f"[sdelens](https://pypi.org/project/sdelens/) {version('sdelens')}.\n"
    )
    yield from (f"- {_plain(sentence)}" for sentence in report.verdict)
    for table in report.tables:
        yield from _table(table)
    yield "\n## Use\n"
    yield "```python"
    yield "import sdelens\n"
    yield f"study = sdelens.load({json.dumps(name)}, model=model)    # the model, in memory"
    yield 'study.analyze("uncertainty", prompt="The Eiffel Tower is in")'
    yield "```\n"
    yield (
        f"The model must be {_plain(model['name'])} in {model['dtype']} with {model['weights']} "
        "weights of the same fingerprint. Opening the files runs no code of theirs. "
        f"`documents.safetensors` holds the token ids of {counted(len(run.documents), 'text')}."
    )
    yield "\n## Provenance\n"
    yield "| | |\n|---|---|"
    shown = (item for item in report.provenance.items() if item[0] not in ("run", "command"))
    yield from (f"| {key} | {_plain(value)} |" for key, value in shown)


def _table(table: Table) -> Iterator[str]:
    yield f"\n## {_plain(table.title)}\n"
    for row in (table.columns, ["---"] * len(table.columns), *table.rows):
        yield f"| {' | '.join(_plain(cell) for cell in row)} |"
    yield f"\n{_plain(table.note)}"


def _plain(text: str) -> str:
    """Escaped text, because names may contain markup."""
    flat = " ".join(text.split())
    return flat.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
