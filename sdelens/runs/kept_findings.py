"""Findings that are not made again: those of an interrupted analysis with equal inputs."""

from typing import Any

from sdelens.digest import digest
from sdelens.fitting.study import Study
from sdelens.registry import plugin
from sdelens.report import Finding
from sdelens.runs.findings import inputs_of_saved, load_finding
from sdelens.runs.manifest import plugin_row
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import finding_folders
from sdelens.seeds import derive
from sdelens.settings import described


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
    for folder in finding_folders(run, name):
        if inputs_of_saved(folder) == inputs:
            return load_finding(folder)
    return None
