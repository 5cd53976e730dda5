"""Scores of several runs side by side, with paired gains over the first run."""

from collections.abc import Iterator, Sequence
from itertools import chain
from os.path import relpath
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Viewed
from sdelens.report import Estimate, Finding, Report, Table, counted
from sdelens.runs.reporting import finding_folder, findings_of
from sdelens.runs.run import Run
from sdelens.runs.score_table import few_words, pm
from sdelens.states.recording import View

COLUMNS = (
    "run",
    "probe",
    "nats per dimension",
    "gain over i.i.d. per position",
    "gain over linear",
    "R²",
    "gain over the first run",
    "class",
)
NOTE = (
    "Nats per dimension are in coordinates standardised on each run's own training states, so "
    "they are comparable only between runs of the same model, layer and texts. The gain over the "
    "first run is in nats per dimension, paired by held-out document, on the same raw states and "
    "independent of the basis. ± is a standard error over documents."
)


def comparison(runs: Sequence[Run], folder: Path) -> Report:
    """A report on several runs; findings of the same analyzer are adjacent."""
    names = [run.folder.name for run in runs]
    if len(runs) < 2 or len(set(names)) < len(names):
        raise UsageError(
            f"a comparison needs at least two runs in folders of different names, got {names}"
        )
    rows = tuple(_row(run, view, runs[0]) for run in runs for view in run.views)
    found = sorted(
        (
            (not finding.process_class, finding.analyzer, run, finding)
            for run, finding in _all(runs)
        ),
        key=lambda item: item[:2],
    )
    return Report(
        title=" and ".join(names) if len(names) == 2 else f"{len(names)} runs",
        verdict=tuple(_sentence(run) for run in runs),
        tables=(Table("Held-out scores", COLUMNS, rows, NOTE),),
        findings=tuple(finding for *_, finding in found),
        places=tuple(relpath(finding_folder(run, f), folder) for *_, run, f in found),
        labels=tuple(f"{run.folder.name}, {f.analyzer}" for *_, run, f in found),
        provenance={run.folder.name: str(run.folder) for run in runs},
    )


def _all(runs: Sequence[Run]) -> Iterator[tuple[Run, Finding]]:
    return chain.from_iterable(((run, finding) for finding in findings_of(run)) for run in runs)


def _row(run: Run, view: View, first: Run) -> tuple[str, ...]:
    """The cells of one view of one run."""
    scores = run.metrics(view)
    key = "_state_dependent" if scores["noise_column"] == "state-dependent" else ""
    gains = (
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
        *gains,
        pm(scores, "increment_r2"),
        "" if run is first else _paired(run, view, first),
        classes.get(str(view), f"unknown: run `sdelens analyze {run.folder.name} verdict`"),
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


def _paired(run: Run, view: View, first: Run) -> str:
    """The gain over the first run, if both have the same states."""
    if not _alike(run, view, first):
        return "other states"
    pair, group = (run.study().views[view], first.study().views[view]), run.documents.group
    gain = paired_gain(*pair, group)
    return Estimate("gain", gain.value, gain.stderr).number


def _alike(run: Run, view: View, first: Run) -> bool:
    """Whether two runs have the same states: model, layer, texts and held-out documents."""
    same = [each.manifest["fingerprints"] for each in (run, first)]
    return (
        view in first.views
        and same[0] == same[1]
        and run.split == first.split
        and run.job.skip_first == first.job.skip_first
    )


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
