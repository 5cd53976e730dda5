"""The report of a run: its first screen, scores, verdict and findings."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import chain

from sdelens.evidence.verdict import verdict
from sdelens.fitting.fitted import Fitted
from sdelens.laws.sde import SDE
from sdelens.report import Report, Table
from sdelens.runs.first_screen import first_screen
from sdelens.runs.provenance import law_words, layer_words, provenance
from sdelens.runs.redaction import local_names, without_folders
from sdelens.runs.run import Run
from sdelens.runs.saved_findings import failures_of, finding_folder, findings_of
from sdelens.runs.score_table import score_table
from sdelens.states.recording import View


def report_of(run: Run) -> Report:
    """The report of a run: scores, verdict and all findings."""
    views = run.views
    fits = {view: run.fitted(view) for view in views}
    laws = sorted({law_words(fitted) for fitted in fits.values()})
    findings = findings_of(run)
    sentences = {view: said_of(fitted, view) for view, fitted in fits.items()}
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


def said_of(fitted: Fitted, view: View) -> tuple[str, ...]:
    """The verdict on the fit of a view, in sentences."""
    made, is_sde = fitted.record, isinstance(fitted.law, SDE)
    return verdict(made.scores, made.probe, made.density, clock=view.clock, is_sde=is_sde)


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
