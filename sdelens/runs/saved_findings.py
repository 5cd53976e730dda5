"""The findings in the folder of a run, and the analyzers that could not run."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from sdelens.report import Finding
from sdelens.runs.findings import VALUE, load_finding
from sdelens.runs.run import Run
from sdelens.schema import checked, damaged
from sdelens.store import read_json

FAILURES = "analysis/left_out.json"


def finding_folder(run: Run, finding: Finding) -> Path:
    """analysis/<analyzer>/<view>, with a hash of the prompt if there is one."""
    prompt = finding.prompt
    suffix = f"-{sha256(prompt.encode()).hexdigest()[:8]}" if prompt else ""
    return run.folder / "analysis" / finding.analyzer / f"{finding.view}{suffix}"


def finding_folders(run: Run, analyzer: str = "*") -> Iterator[Path]:
    """The folders with a complete finding, of one analyzer or of all."""
    for file in sorted(run.folder.glob(f"analysis/{analyzer}/*/{VALUE}")):
        if not file.parent.name.startswith("."):  # being written
            yield file.parent


def findings_of(run: Run) -> tuple[Finding, ...]:
    """All findings of a run, those that assign a class of process first."""
    folders = list(finding_folders(run))
    findings = [load_finding(folder) for folder in folders]
    for finding, folder in zip(findings, folders, strict=True):
        if finding_folder(run, finding) != folder:
            damaged(folder / VALUE, "analyzer, view and prompt", "must be those of its folder")
    return tuple(sorted(findings, key=lambda finding: not finding.process_class))


def failures_of(run: Run) -> dict[str, str]:
    """Analyzers that could not run when all were requested, and why."""
    file = run.folder / FAILURES
    return checked(dict[str, str], read_json(file), file) if file.exists() else {}
