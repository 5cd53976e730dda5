"""The findings in the folder of a run, and the analyzers that could not run."""

from hashlib import sha256
from pathlib import Path

from sdelens.report import Finding
from sdelens.runs.findings import load_finding
from sdelens.runs.run import Run
from sdelens.schema import checked, damaged
from sdelens.store import read_json

FAILURES = "analysis/left_out.json"


def finding_folder(run: Run, finding: Finding) -> Path:
    """analysis/<analyzer>/<view>, with a hash of the prompt if there is one."""
    prompt = finding.prompt
    suffix = f"-{sha256(prompt.encode()).hexdigest()[:8]}" if prompt else ""
    return run.folder / "analysis" / finding.analyzer / f"{finding.view}{suffix}"


def findings_of(run: Run) -> tuple[Finding, ...]:
    """All findings of a run, those that assign a class of process first."""
    files = sorted(run.folder.glob("analysis/*/*/finding.json"))
    findings = [load_finding(file.parent) for file in files]
    for finding, file in zip(findings, files, strict=True):
        if finding_folder(run, finding) != file.parent:
            damaged(file, "analyzer, view and prompt", "must be those of its folder")
    return tuple(sorted(findings, key=lambda finding: not finding.process_class))


def failures_of(run: Run) -> dict[str, str]:
    """Analyzers that could not run when all were requested, and why."""
    file = run.folder / FAILURES
    return checked(dict[str, str], read_json(file), file) if file.exists() else {}
