"""Runs the analyzers of a run, saves their findings, and writes its report."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdelens.containment.contained import Unrestorable, contained
from sdelens.containment.study_state import parts_of
from sdelens.errors import BrokenPlugin
from sdelens.estimation.ratio import FEWEST
from sdelens.file_names import file_name_problem
from sdelens.fitting.study import Study
from sdelens.interfaces import build_plugin, load
from sdelens.protocols import NEEDS, USES_MODEL, Analyzer, QuickAnalyzer, Reporter
from sdelens.registry import Plugin, plugin_with, plugins
from sdelens.report import Finding, Report
from sdelens.report_protocols import QuestionAnalyzer
from sdelens.runs.findings import require_readable, save_finding
from sdelens.runs.folder import within
from sdelens.runs.kept_findings import inputs_of, kept_finding, seed_of, where_of
from sdelens.runs.left_out import TRACEBACK, LeftOut
from sdelens.runs.manifest import note_plugins
from sdelens.runs.needs import MODEL, require_needs
from sdelens.runs.run import Run
from sdelens.runs.run_report import report_of
from sdelens.runs.saved_findings import FAILURES, failures_of, finding_folder
from sdelens.runs.writer import written_alone
from sdelens.schema import Damaged
from sdelens.settings import described
from sdelens.states.recording import View
from sdelens.store import replaced_folder, write_json
from sdelens.unicode_text import require_prompt
from sdelens.wording import counted

Watch = Callable[[str, str], None]


def analyze(
    run: Run,
    names: Sequence[str] = (),
    *,
    prompt: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    view: View | None = None,
    resume: bool = False,
    watch: Watch = lambda *_: None,
) -> tuple[tuple[Finding, ...], dict[str, str]]:
    """Run analyzers (all of them if none is named) on every view, and save their findings.

    With a `view`, only that view is analyzed; with `resume`, finished findings of equal inputs are
    kept. An analyzer that was named or given settings and cannot run is an error, raised after the
    others have run; analyzers that were not named are skipped, and the reasons are returned with
    the findings.
    """
    findings, left_out = run_analyzers(
        run, names, prompt=prompt, settings=settings, view=view, resume=resume, watch=watch
    )
    left_out.raise_failures()
    return findings, left_out.reasons


@written_alone
def run_analyzers(
    run: Run,
    names: Sequence[str] = (),
    *,
    prompt: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    view: View | None = None,
    resume: bool = False,
    quick: bool = False,
    watch: Watch = lambda *_: None,
) -> tuple[tuple[Finding, ...], LeftOut]:
    """The same as `analyze`, but errors are returned with the findings.

    With `quick`, analyzers that have settings for a first look use them, unless others are given.
    """
    prompt = require_prompt(prompt, "prompt")
    own, left_out = settings or {}, LeftOut(frozenset((*names, *(settings or {}))))
    chosen: dict[str, Analyzer[Study]] = {}
    for name in names or plugins("analyzer"):
        with (
            left_out.unless(name, named=name in left_out.named),
            contained(f"the analyzer {name}"),
        ):
            first = quick_settings(name) if quick else {}
            chosen[name] = build_plugin("analyzer", name, {**first, **own.get(name, {})})
    study = replace(run.study(), prompt=prompt)
    study = study if view is None else study.only(view)
    every = [(name, part) for name, one in chosen.items() for part in _parts(one, study)]
    findings: list[Finding] = []
    if resume:
        kept = [kept_finding(run, chosen[name], name, part) for name, part in every]
        findings = [finding for finding in kept if finding]
        every = [one for one, finding in zip(every, kept, strict=True) if not finding]
    for name, part in _ready(run, every, chosen, left_out):
        watch(name, where_of(part))
        trace = within(run.folder, "analysis", name) / f"{where_of(part)}.{TRACEBACK}"
        with left_out.unless(_label(name, part), named=name in left_out.named, trace=trace):
            with contained(f"the analyzer {_label(name, part)}", parts=parts_of(part)):
                inputs = inputs_of(run, chosen[name], name, part)
                finding = finding_of(chosen[name], name, part, seed=seed_of(run, name, part))
            write_finding(run, finding, inputs)
            trace.unlink(missing_ok=True)
            findings.append(finding)
    _note_failures(run, left_out, names)
    if used := dict.fromkeys(("analyzer", finding.analyzer) for finding in findings):
        note_plugins(run, [*used, ("reporter", figure_plugin().name)])
    return tuple(findings), left_out


def _note_failures(run: Run, left_out: LeftOut, names: Collection[str]) -> None:
    """Save why analyzers could not run, for the report, and keep what is known of the others."""
    known = failures_of(run) if names else {}
    kept = {label: why for label, why in known.items() if label.partition(" ")[0] not in names}
    if kept | left_out.broken != known or not names:
        write_json(run.folder / FAILURES, kept | left_out.broken | left_out.reasons)


def quick_settings(name: str) -> dict[str, Any]:
    """The settings of an analyzer for a first look; empty if it has none."""
    kind = load("analyzer", name)
    return kind.quick if isinstance(kind, QuickAnalyzer) else {}


def _ready(
    run: Run,
    every: Sequence[tuple[str, Study]],
    chosen: Mapping[str, Analyzer[Study]],
    left_out: LeftOut,
) -> list[tuple[str, Study]]:
    """Analyzers with the studies they can run on; needs of the model are checked once loaded."""
    asked = _meeting(every, chosen, left_out, [need for need in NEEDS if need not in MODEL])
    needing = [name for name, _ in asked if chosen[name].needs & USES_MODEL]
    model, prompt = (every[0][1].model, every[0][1].prompt) if every else (None, None)
    if prompt or any(_uses_model(chosen[name]) for name, _ in asked):
        required = bool(prompt or left_out.named.intersection(needing))
        with left_out.unless("the model", named=required), contained("the model"):
            model = run.model
            run.require_same(model, hooks=True)
    if "the model" in left_out.failures:  # reported once, not for every analyzer that uses it
        asked = [(n, part) for n, part in asked if not _uses_model(chosen[n])]
    return _meeting(
        [(n, replace(part, model=model)) for n, part in asked], chosen, left_out, MODEL
    )


def _uses_model(analyzer: Analyzer[Study]) -> bool:
    return bool((analyzer.needs | analyzer.wants) & USES_MODEL)


def _meeting(
    parts: Iterable[tuple[str, Study]],
    chosen: Mapping[str, Analyzer[Study]],
    left_out: LeftOut,
    needs: Collection[str],
) -> list[tuple[str, Study]]:
    """The analyzers whose needs are met."""
    ready = []
    for name, part in parts:
        with left_out.unless(_label(name, part), named=name in left_out.named):
            require_needs(chosen[name], name, part, needs)
            ready.append((name, part))
    return ready


def finding_of(analyzer: Analyzer[Study], name: str, study: Study, *, seed: int) -> Finding:
    """The finding of an analyzer, with its name and settings.

    Raises `BrokenPlugin` if it could not be read after it is written.
    """
    found = analyzer.analyze(study, seed=seed)
    if not isinstance(found, Finding):
        raise BrokenPlugin(
            f"the analyzer {name} must return a Finding, got {type(found).__name__}"
        )
    question = analyzer.answers if isinstance(analyzer, QuestionAnalyzer) else ""
    found = replace(found, analyzer=name, settings=described(analyzer), question=question)
    try:
        require_readable(found)
    except Damaged as error:
        raise BrokenPlugin(f"the finding of the analyzer {name}: {error.problem}") from error
    for what, own in [("view", found.view), *(("figure", f.name) for f in found.figures)]:
        if problem := file_name_problem(own):
            raise BrokenPlugin(f"the name of a {what} {problem}, but {name} returned {own!a}")
    # errors are over held-out documents; a finding without any concludes nothing from them
    few = few_held_out(study) if any(e.stderr is not None for e in found.estimates) else ""
    headline = f"{found.headline} {few}".rstrip()
    return replace(found, headline=headline)


def few_held_out(study: Study) -> str:
    """The sentence after a headline from few held-out documents; empty if there are enough."""
    scores = (viewed.fitted.record.scores for viewed in study.views.values())
    held = min((found["held_out_documents"] for found in scores if found), default=FEWEST)
    if held >= FEWEST:
        return ""
    return (
        f"This describes {counted(held, 'held-out document')} and allows no conclusion about "
        f"others, which needs {FEWEST}."
    )


@written_alone
def write_report(run: Run, reporter: str | None = None) -> Path:
    """Write the report of a run, as a page or with the reporter named; returns its path."""
    name = reporter or page_plugin().name
    written = render(report_of(run), run.folder, name)
    note_plugins(run, [("reporter", name)])
    return written


def figure_plugin() -> Plugin:
    """The reporter that saves the figures of findings: one with the method `svg`."""
    return plugin_with("reporter", "svg")


def page_plugin() -> Plugin:
    """The reporter that writes a page: one with the method `page`."""
    return plugin_with("reporter", "page")


def render(report: Report, folder: Path, reporter: str) -> Path:
    """Write a report with the reporter of that name; returns its path."""
    kind = load("reporter", reporter)
    with contained(f"the reporter {reporter}", parts=parts_of(report)):
        chosen: Reporter = kind()
        return chosen.render(report, folder)


def _parts(analyzer: Analyzer[Study], study: Study) -> list[Study]:
    """The studies an analyzer runs on: each view, or all at once."""
    return [study.only(view) for view in study.views] if analyzer.scope == "view" else [study]


def _label(name: str, study: Study) -> str:
    return f"{name} {where_of(study)}"


def write_finding(run: Run, finding: Finding, inputs: str) -> None:
    """Save a finding, its arrays, its figures with their data, and the digest of its inputs.

    Raises `BrokenPlugin` naming its analyzer if its figures cannot be drawn.
    """
    place = finding_folder(run, finding).relative_to(run.folder)
    try:
        save_with_figures(finding, within(run.folder, *place.parts), inputs)
    except Unrestorable:
        raise
    except BrokenPlugin as error:
        raise BrokenPlugin(
            f"the finding of the analyzer {finding.title} cannot be written: {error}"
        ) from error.__cause__


def save_with_figures(finding: Finding, folder: Path, inputs: str | None = None) -> Finding:
    """Save a finding with its figures in place of what a folder has; returns it."""
    within(folder, "figures")
    with replaced_folder(folder) as new:
        save_finding(finding, new, inputs)
        report = Report(title=finding.headline, verdict=(), findings=(finding,))
        render(report, new, figure_plugin().name)
    return finding
