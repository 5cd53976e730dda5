"""Findings that are not made again: those of an interrupted analysis with equal inputs."""

from pathlib import Path
from typing import Any

from sdelens.digest import digest
from sdelens.fitting.study import Study
from sdelens.registry import plugin
from sdelens.report import Finding
from sdelens.runs.findings import load_finding
from sdelens.runs.manifest import plugin_row
from sdelens.runs.run import Run
from sdelens.seeds import derive
from sdelens.settings import described
from sdelens.store import write_text

DONE = "DONE"
"""Written last to the folder of a finding: the digest of its inputs."""


def where_of(study: Study) -> str:
    """The views of a study."""
    return "+".join(map(str, study.views))


def seed_of(run: Run, name: str, study: Study) -> int:
    """The seed of an analyzer on these views."""
    return derive(run.job.seed, "analyze", name, where_of(study))


def inputs_of(run: Run, analyzer: Any, name: str, study: Study) -> str:
    """The digest of what determines a finding of a run."""
    source, seed = plugin_row(plugin("analyzer", name)), seed_of(run, name, study)
    return digest([where_of(study), described(analyzer), study.prompt, source, seed])


def kept_finding(run: Run, analyzer: Any, name: str, study: Study) -> Finding | None:
    """The finished finding of equal inputs, if there is one."""
    inputs = inputs_of(run, analyzer, name, study)
    for done in sorted(run.folder.glob(f"analysis/{name}/*/{DONE}")):
        if done.read_bytes() == _mark(inputs).encode():
            return load_finding(done.parent)
    return None


def mark_done(folder: Path, inputs: str) -> None:
    """Mark a finding with its figures as finished."""
    write_text(folder / DONE, _mark(inputs))


def _mark(inputs: str) -> str:
    return f'"{inputs}"\n'
