"""From a run to its analyses and its report."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from sdelens.errors import (
    BrokenPlugin,
    OutOfMemory,
    SdelensError,
    UsageError,
    blamed,
    disk_is_full,
)
from sdelens.evidence.verdict import verdict
from sdelens.fitting.study import Analyzer, Study
from sdelens.laws.sde import SDE
from sdelens.protocols import Reporter
from sdelens.registry import load, plugin, plugins
from sdelens.report import Finding, Report, Table
from sdelens.runs.findings import load_finding, save_finding
from sdelens.runs.manifest import note_plugins
from sdelens.runs.provenance import law_words, layer_words, provenance
from sdelens.runs.run import Run
from sdelens.runs.score_table import score_table
from sdelens.seeds import derive
from sdelens.settings import build, described
from sdelens.states.recording import View
from sdelens.store import read_json, write_json

Watch = Callable[[str, str], None]
MODEL = {"model", "attention", "prompt"}
"""Needs that take the model itself."""
SCOPES = ("view", "run", "runs")
FAILURES = "analysis/left_out.json"
FIGURES = ("reporter", "figures")
"""The plugin that draws the figures beside each finding."""
CLASS = "verdict"
"""The analyzer whose headlines a report begins with."""


def analyze(
    run: Run,
    names: Sequence[str] = (),
    *,
    prompt: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    view: View | None = None,
    watch: Watch = lambda *_: None,
) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """Ask analyzers (all of them, if none is named) about every view, and save what they found.

    With a `view` they are asked about that one only.

    An analyzer that was named, or given settings, and cannot answer is an error; another one is
    left out, and the reason given back beside the findings.
    """
    asked_for = {*names, *(settings or {})}
    left_out: dict[str, str] = {}
    chosen: dict[str, Analyzer] = {}
    for name in names or plugins("analyzer"):
        with _tolerant(name, left_out, named=name in asked_for):
            chosen[name] = _analyzer(name, settings or {})
    needing = {name for name, a in chosen.items() if MODEL & set(a.needs)}
    wanted = needing or any(MODEL & set(getattr(a, "wants", ())) for a in chosen.values())
    study = run.study(None)
    with _tolerant("the model", left_out, named=bool(prompt or needing & asked_for)):
        study = run.study(prompt, with_model=bool(wanted))
    study = study if view is None else study.only(view)
    asked: list[tuple[str, Study]] = []
    for name, analyzer in chosen.items():
        for part in _parts(analyzer, study):
            with _tolerant(_label(name, part), left_out, named=name in asked_for):
                require_needs(analyzer, name, part)
                asked.append((name, part))
    findings: list[Finding] = []
    used: dict[tuple[str, str], None] = {}
    for name, part in asked:
        watch(name, _where(part))
        with _tolerant(_label(name, part), left_out, named=name in asked_for):
            seed = derive(run.job.seed, "analyze", name, _where(part))
            found = chosen[name].analyze(part, seed=seed)
            require_own(found, name)
            finding = replace(found, settings=described(chosen[name]))
            write_finding(run, finding)
            findings.append(finding)
            used["analyzer", name] = None
    if not names:
        write_json(run.folder / FAILURES, left_out)
    if used:
        note_plugins(run, [*used, FIGURES])
    return tuple(findings), left_out


def write_report(run: Run, reporter: str = "html") -> Path:
    """The report of a run, written by a reporter: where it lies."""
    written = render(report_of(run), run.folder, reporter)
    note_plugins(run, [("reporter", reporter)])
    return written


def render(report: Report, folder: Path, reporter: str) -> Path:
    """A report, written by the reporter of that name: where it lies."""
    kind = load("reporter", reporter)
    with blamed(f"the reporter {reporter}"):
        chosen: Reporter = kind()
        return chosen.render(report, folder)


@contextmanager
def _tolerant(label: str, left_out: dict[str, str], *, named: bool) -> Iterator[None]:
    """What goes wrong is an error for an analyzer that was named, else noted with its reason."""
    try:
        with blamed(f"the analyzer {label}") if named else nullcontext():
            yield
    except Exception as error:
        if named or isinstance(error, OutOfMemory) or disk_is_full(error):
            raise
        known = isinstance(error, SdelensError)
        left_out[label] = str(error) if known else f"{type(error).__name__}: {error}"


def _parts(analyzer: Analyzer, study: Study) -> list[Study]:
    """What an analyzer is asked about, one after the other."""
    return [study.only(view) for view in study.views] if analyzer.scope == "view" else [study]


def _where(study: Study) -> str:
    return "+".join(map(str, study.views))


def _label(name: str, study: Study) -> str:
    return f"{name} {_where(study)}"


def _analyzer(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Analyzer:
    """One that can be asked; what is read of it outside of its own work is checked here."""
    built = build(plugin("analyzer", name).load(), settings.get(name, {}), name)
    if not isinstance(built, Analyzer) or built.scope not in SCOPES:
        raise BrokenPlugin(
            f"the analyzer {name} must have needs, analyze, and a scope of {', '.join(SCOPES)}; "
            f"its scope is {getattr(built, 'scope', None)!r}"
        )
    frozenset(built.needs), frozenset(getattr(built, "wants", ()))  # raises for what is no set
    return built


def require_needs(analyzer: Analyzer, name: str, study: Study) -> None:
    """An error where the study has not what the analyzer needs; before any work."""
    if "prompt" in analyzer.needs and not study.prompt:
        raise UsageError(f'the analyzer {name} needs a prompt: add --prompt "…"')
    if "model" in analyzer.needs and study.model is None:
        raise UsageError(f"the analyzer {name} needs the model of the run, which is not here")
    for view, viewed in study.views.items():
        if "sde" in analyzer.needs and not isinstance(viewed.fitted.law, SDE):
            raise UsageError(
                f"the analyzer {name} needs an SDE, but the fit of {view} by "
                f"{viewed.fitted.record.probe!r} is no SDE"
            )


def require_own(finding: Finding, name: str) -> None:
    """An error where there is no finding, or it would be kept as another analyzer's."""
    if not isinstance(finding, Finding):
        raise BrokenPlugin(
            f"the analyzer {name} must give a Finding, it gave {type(finding).__name__}"
        )
    if finding.analyzer != name:
        raise BrokenPlugin(
            f"the analyzer {name} calls itself {finding.analyzer!r} in its finding, "
            f"which would be kept as that one's: give Finding({name!r}, …)"
        )


def finding_folder(run: Run, finding: Finding) -> Path:
    """analysis/<analyzer>/<view>, with a hash of the prompt where there was one."""
    suffix = f"-{sha256(finding.prompt.encode()).hexdigest()[:8]}" if finding.prompt else ""
    return run.folder / "analysis" / finding.analyzer / f"{finding.view}{suffix}"


def write_finding(run: Run, finding: Finding) -> None:
    """The finding, its arrays, its figures with their data."""
    folder = finding_folder(run, finding)
    save_finding(finding, folder)
    reporter: Reporter = load(*FIGURES)()
    reporter.render(Report(title=finding.headline, verdict=(), findings=(finding,)), folder)


def findings_of(run: Run) -> tuple[Finding, ...]:
    """All findings that a run holds, those on the class of the process first."""
    files = sorted(run.folder.glob("analysis/*/*/finding.json"))
    findings = (load_finding(file.parent) for file in files)
    return tuple(sorted(findings, key=lambda finding: finding.analyzer != CLASS))


def failures_of(run: Run) -> dict[str, str]:
    """Analyzers that were left out when all were asked, and why."""
    file = run.folder / FAILURES
    found: dict[str, str] = read_json(file) if file.exists() else {}
    return found


def report_of(run: Run) -> Report:
    """Scores, verdict and all findings of a run."""
    views = run.views
    fits = {view: run.fitted(view) for view in views}
    laws = sorted({law_words(fitted) for fitted in fits.values()})
    findings = findings_of(run)
    said = {
        view: verdict(
            fitted.record.scores, fitted.record.probe, fitted.record.density, clock=view.clock
        )
        for view, fitted in fits.items()
    }
    return Report(
        title=f"{run.manifest['model']['name']}, {layer_words(views)}: {', '.join(laws)}",
        subtitle=run.folder.name,
        verdict=(*classes_of(findings, several=len(views) > 1), *verdict_of(said)),
        tables=tuple(_scores(run, view) for view in views),
        findings=findings,
        places=tuple(str(finding_folder(run, f).relative_to(run.folder)) for f in findings),
        failures=failures_of(run),
        provenance=provenance(run),
    )


def _scores(run: Run, view: View) -> Table:
    """The score table of a view, with the file that its numbers are from."""
    table = score_table(run.metrics(view), view, run.job.probe)
    return replace(table, source=f"fits/{view}/metrics.json")


def classes_of(findings: Sequence[Finding], *, several: bool) -> tuple[str, ...]:
    """What class of process each view was found to be."""
    found = [finding for finding in findings if finding.analyzer == CLASS]
    what = "Kind of process. "
    return tuple(f"{f.view}: {f.headline}" if several else what + f.headline for f in found)


def verdict_of(said: Mapping[View, tuple[str, ...]]) -> tuple[str, ...]:
    """All sentences of one view; of several those of each, then those that they share."""
    if len(said) < 2:
        return tuple(chain.from_iterable(said.values()))
    every = list(said.values())
    shared = [sentence for sentence in every[0] if all(sentence in one for one in every)]
    own = (
        f"{view}: {' '.join(sentence for sentence in sentences if sentence not in shared)}"
        for view, sentences in said.items()
    )
    return (*own, *shared)
