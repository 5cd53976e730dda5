"""Scores of several runs side by side, with paired gains over the first run."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from os.path import relpath
from pathlib import Path
from shlex import quote

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Viewed
from sdelens.report import Estimate, Finding, Report, Table
from sdelens.runs.comparison_screen import Gains, comparison_screen
from sdelens.runs.folder import within
from sdelens.runs.interventions import change_finding
from sdelens.runs.pairing import Pairing
from sdelens.runs.redaction import local_names, without_folders
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import save_with_figures
from sdelens.runs.saved_findings import finding_folder, findings_of
from sdelens.runs.score_table import few_words, pm
from sdelens.states.recording import View
from sdelens.wording import counted

COLUMNS = (
    "run",
    "probe",
    "nats per dimension",
    "gain over i.i.d. per position",
    "gain over linear",
    "R²",
    "gain over the first run",
    "differs from the first run in",
    "class",
)
NOTE = (
    "Nats per dimension are in coordinates standardised on each run's own training states, so "
    "they are comparable only between runs of the same model, layer and texts. The gain over the "
    "first run is in nats per dimension, paired by held-out document, on the same raw states and "
    "independent of the basis. Runs on the same texts whose states differ, for example under a "
    "hook, are compared by document below. ± is a standard error over documents."
)


def comparison(runs: Sequence[Run], folder: Path) -> Report:
    """A report on several runs; findings of the same analyzer are adjacent."""
    names = [run.folder.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"a comparison needs at least two runs in folders of different names, got {names}"
        )
    pairings = {(run, view): Pairing(runs[0], run, view) for run in runs[1:] for view in run.views}
    gains = {pairing: _paired(pairing) for pairing in pairings.values() if pairing.same_states}
    rows = tuple(
        _row(run, view, pairings.get((run, view)), gains) for run in runs for view in run.views
    )
    changes = _changes(pairings.values(), folder)
    labels = {
        place: f"{name} against {names[0]}, {f.view}" for (place, name), f in changes.items()
    }
    found = sorted(
        (
            (not finding.process_class, finding.analyzer, run, finding)
            for run, finding in _all(runs)
        ),
        key=lambda item: item[:2],
    )
    return Report(
        title=" and ".join(names) if len(names) == 2 else f"{len(names)} runs",
        verdict=(
            *(_sentence(run) for run in runs),
            *_equal_weights(runs),
            *(f"{labels[place]}: {f.headline}" for (place, _), f in changes.items()),
        ),
        tables=(Table("Held-out scores", COLUMNS, rows, NOTE),),
        findings=(*changes.values(), *(finding for *_, finding in found)),
        places=(*labels, *(relpath(finding_folder(run, f), folder) for *_, run, f in found)),
        labels=(*labels.values(), *(f"{run.folder.name}, {f.analyzer}" for *_, run, f in found)),
        failures={
            f"compare {run.folder.name} {view}": pairing.unread
            for (run, view), pairing in pairings.items()
            if pairing.unread
        },
        provenance={
            run.folder.name: without_folders(
                f"{run.card.name}, {run.card.fingerprint[:16]}…",
                local_names(run.manifest, run.folder),
            )
            for run in runs
        },
        first_screen=comparison_screen([*pairings.values()], gains, [*changes.values()]),
    )


def _all(runs: Sequence[Run]) -> Iterator[tuple[Run, Finding]]:
    return chain.from_iterable(((run, finding) for finding in findings_of(run)) for run in runs)


def _changes(pairings: Iterable[Pairing], folder: Path) -> dict[tuple[str, str], Finding]:
    """A finding for each run with other states along the same texts, by its folder and the run."""
    found = {}
    for pairing in pairings:
        if pairing.same_states is False:
            name = pairing.second.folder.name
            place = within(folder, "compare", name, str(pairing.view))
            key = place.relative_to(folder).as_posix()
            found[key, name] = save_with_figures(change_finding(pairing), place)
    return found


def _row(run: Run, view: View, pairing: Pairing | None, gains: Gains) -> tuple[str, ...]:
    """The cells of one view of one run."""
    scores = run.metrics(view)
    key = "_state_dependent" if scores["noise_column"] == "state-dependent" else ""
    over = (
        "the fit itself"
        if name in scores.get("same_law", [])
        else pm(scores["baselines"][name], f"gain_of_fit{key}", sign="+")
        for name in ("iid_position", "linear")
    )
    classes = {f.view: f.process_class for f in findings_of(run) if f.process_class}
    return (
        f"{run.folder.name} {view}",
        run.job.probe,
        pm(
            {"nll": scores["held_out_nll_per_dim"], "nll_stderr": scores["held_out_nll_stderr"]},
            "nll",
        ),
        *over,
        pm(scores, "increment_r2"),
        *(("", "") if pairing is None else (_gain_words(pairing, gains), pairing.words)),
        classes.get(str(view), f"unknown: run `sdelens analyze {quote(run.folder.name)} verdict`"),
    )


def _sentence(run: Run) -> str:
    """A sentence on the view with the largest gain."""
    gain, view = max((run.metrics(view)["gain_over_iid_position"], view) for view in run.views)
    error = run.metrics(view)["gain_over_iid_position_stderr"]
    few = few_words(min(run.metrics(view)["held_out_documents"] for view in run.views))
    most = f", most in {view} of {counted(len(run.views), 'layer')}" if len(run.views) > 1 else ""
    return (
        f"{run.folder.name}: the {run.job.probe} fit gains {gain:.3f} ± {error:.3f} nats per "
        f"dimension over i.i.d. states per position{most}. {few}"
    ).rstrip()


def _equal_weights(runs: Sequence[Run]) -> Iterator[str]:
    """A sentence on each model whose weights are those of an earlier one of another name."""
    known: dict[str, str] = {}
    for card in (run.card for run in runs):
        name = f"{card.name}, revision {card.revision[:12]}"
        first = known.setdefault(card.fingerprint, name)
        if name != first:
            yield f"{first} and {name} have equal weights: they are one model under two names."


def _gain_words(pairing: Pairing, gains: Gains) -> str:
    """The gain over the first run, if both have the same states."""
    if pairing in gains:
        return gains[pairing].number
    return "states not available" if pairing.unread else "other states"


def _paired(pairing: Pairing) -> Estimate:
    """The gain over the first run."""
    one, other = pairing.viewed
    return paired_gain(other, one, pairing.second.documents.group)


@torch.no_grad()
def paired_gain(one: Viewed, other: Viewed, group: Int[Tensor, " document"]) -> Estimate:
    """Gain of one fit over another on the same test paths, in nats per dimension.

    Its error is over groups of documents.
    """
    unit = torch.unique(group, return_inverse=True)[1]
    above, below = torch.zeros(2, int(unit.max()) + 1, dtype=torch.float64)
    for block in one.test:
        better = one.fitted.log_prob(block) - other.fitted.log_prob(block)
        count = better.isfinite().sum(1) * block.states.shape[-1]
        units = unit[block.document.cpu()]
        above.index_add_(0, units, better.nansum(1).double().cpu())
        below.index_add_(0, units, count.double().cpu())
    found = Interval.ratio(above, below)
    return Estimate("gain", float(found.value), float(found.stderr), "nats per dimension")
