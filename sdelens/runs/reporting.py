"""Runs the analyzers of a run, and builds its report."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from sdelens.containment.contained import contained
from sdelens.containment.study_state import parts_of
from sdelens.errors import BrokenPlugin
from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.verdict import verdict
from sdelens.file_names import file_name_problem
from sdelens.fitting.study import Study
from sdelens.interfaces import build_plugin, load
from sdelens.protocols import NEEDS, Analyzer, Reporter
from sdelens.registry import Plugin, plugin_with, plugins
from sdelens.report import Finding, Report, Table, counted
from sdelens.report_protocols import QuestionAnalyzer
from sdelens.runs.findings import save_finding
from sdelens.runs.first_screen import first_screen
from sdelens.runs.folder import within
from sdelens.runs.kept_findings import DONE, inputs_of, kept_finding, mark_done, seed_of, where_of
from sdelens.runs.left_out import TRACEBACK, LeftOut
from sdelens.runs.manifest import note_plugins
from sdelens.runs.needs import MODEL, require_needs
from sdelens.runs.provenance import law_words, layer_words, provenance
from sdelens.runs.redaction import local_names, without_folders
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import FAILURES, failures_of, finding_folder, findings_of
from sdelens.runs.score_table import score_table
from sdelens.runs.writer import written_alone
from sdelens.settings import described
from sdelens.states.recording import View
from sdelens.store import write_json

Watch = Callable[[str, str], None]
USES_MODEL = {"model", "attention", "prompt"}
"""Needs that require loading the model."""


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
    watch: Watch = lambda *_: None,
) -> tuple[tuple[Finding, ...], LeftOut]:
    """The same as `analyze`, but errors are returned with the findings."""
    own, left_out = settings or {}, LeftOut(frozenset((*names, *(settings or {}))))
    chosen: dict[str, Analyzer[Study]] = {}
    for name in names or plugins("analyzer"):
        with (
            left_out.unless(name, named=name in left_out.named),
            contained(f"the analyzer {name}"),
        ):
            chosen[name] = build_plugin("analyzer", name, own.get(name, {}))
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
                finding = finding_of(chosen[name], name, part, seed=seed_of(run, name, part))
            write_finding(run, finding, inputs_of(run, chosen[name], name, part))
            trace.unlink(missing_ok=True)
            findings.append(finding)
    if not names:
        write_json(run.folder / FAILURES, left_out.reasons)
    if used := dict.fromkeys(("analyzer", finding.analyzer) for finding in findings):
        note_plugins(run, [*used, ("reporter", figure_plugin().name)])
    return tuple(findings), left_out


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
    """The finding of an analyzer, with its name and settings."""
    found = analyzer.analyze(study, seed=seed)
    if not isinstance(found, Finding):
        raise BrokenPlugin(
            f"the analyzer {name} must return a Finding, got {type(found).__name__}"
        )
    for what, own in [("view", found.view), *(("figure", f.name) for f in found.figures)]:
        if problem := file_name_problem(own):
            raise BrokenPlugin(f"the name of a {what} {problem}, but {name} returned {own!a}")
    # errors are over held-out documents; a finding without any concludes nothing from them
    few = few_held_out(study) if any(e.stderr is not None for e in found.estimates) else ""
    headline = f"{found.headline} {few}".rstrip()
    question = analyzer.answers if isinstance(analyzer, QuestionAnalyzer) else ""
    return replace(
        found,
        analyzer=name,
        settings=described(analyzer),
        headline=headline,
        question=question,
    )


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
    """Save a finding, its arrays, its figures with their data, and the digest of its inputs."""
    place = finding_folder(run, finding).relative_to(run.folder)
    folder = within(run.folder, *place.parts)
    (folder / DONE).unlink(missing_ok=True)
    save_with_figures(finding, folder)
    mark_done(folder, inputs)


def save_with_figures(finding: Finding, folder: Path) -> Finding:
    """Save a finding to a folder with its figures; returns it."""
    within(folder, "figures")
    save_finding(finding, folder)
    report = Report(title=finding.headline, verdict=(), findings=(finding,))
    render(report, folder, figure_plugin().name)
    return finding


def report_of(run: Run) -> Report:
    """The report of a run: scores, verdict and all findings."""
    views = run.views
    fits = {view: run.fitted(view) for view in views}
    laws = sorted({law_words(fitted) for fitted in fits.values()})
    findings = findings_of(run)
    sentences = {
        view: verdict(
            fitted.record.scores, fitted.record.probe, fitted.record.density, clock=view.clock
        )
        for view, fitted in fits.items()
    }
    under = f", under the hooks {run.card.hook_words}" if run.card.hooks else ""
    names = local_names(run.manifest, run.folder)
    title = f"{run.card.name}, {layer_words(views)}: {', '.join(laws)}{under}"
    return Report(
        title=without_folders(title, names),
        subtitle=run.folder.name,
        verdict=verdict_of(sentences),
        tables=tuple(_scores(run, view) for view in views),
        findings=findings,
        places=tuple(str(finding_folder(run, f).relative_to(run.folder)) for f in findings),
        failures=failures_of(run),
        provenance={key: without_folders(text, names) for key, text in provenance(run).items()},
        first_screen=first_screen({v: fit.record.scores for v, fit in fits.items()}, findings),
    )


def _scores(run: Run, view: View) -> Table:
    """The score table of a view, with the file that contains its numbers."""
    table = score_table(run.metrics(view), view, run.job.probe)
    return replace(table, source=f"fits/{view}/metrics.json")


def verdict_of(sentences: Mapping[View, tuple[str, ...]]) -> tuple[str, ...]:
    """The sentences of a single view; of several, those of each, then those they share."""
    if len(sentences) < 2:
        return tuple(chain.from_iterable(sentences.values()))
    first, *others = sentences.values()
    shared = [sentence for sentence in first if all(sentence in other for other in others)]
    own = (
        f"{view}: {' '.join(sentence for sentence in found if sentence not in shared)}"
        for view, found in sentences.items()
    )
    return (*own, *shared)
