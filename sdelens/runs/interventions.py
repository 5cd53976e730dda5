"""A paired comparison of two runs on the same texts, for example without and with a hook."""

import math
from os import PathLike
from pathlib import Path

import torch

from sdelens.errors import UsageError
from sdelens.estimation.ratio import FEWEST
from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.runs.folder import require_run
from sdelens.runs.open_study import OpenStudy
from sdelens.runs.paired_change import PairedChange
from sdelens.runs.pairing import Pairing
from sdelens.runs.run import Run
from sdelens.wording import counted

NAME = "compare"
SIZES = ("drift", "noise")
READING = (
    "The same held-out texts under two conditions. The drift is the root mean square of the "
    "expected step, and the noise that of what this step leaves unexplained. Both have one unit: "
    "of each coordinate the root of the mean of its two training variances. The gain is that of "
    "the fit over independent states at each position, both with constant noise. Intervals are "
    "95% bootstrap intervals over documents, drawn in pairs, for these two fits; they do not "
    "include the error of training. Changes below 0.01% are rounding. Coordinates outside the "
    "basis are left out."
)
ROUNDING = 1e-4
"""Changes below this are not reported as changes."""


def compare(
    one: OpenStudy | Run | str | PathLike[str],
    other: OpenStudy | Run | str | PathLike[str],
    *,
    layer: int | str | None = None,
) -> Finding:
    """Compare two runs on the same texts: `sdelens.compare(without, with_hook, layer=6)`.

    The finding has the change from the first to the second run of the drift, the noise and the
    gain, with intervals over held-out documents, and by document in `Finding.arrays`. Runs are
    studies, or folders written by `sdelens fit` or `study.save`. Raises `UsageError` with what
    differs if documents cannot be paired.
    """
    first, second = _run(one), _run(other)
    pairing = Pairing(first, second, second.view(layer))
    if pairing.obstacles:
        raise UsageError(
            f"{first.folder.name} and {second.folder.name} cannot be paired by document "
            f"({'; '.join(pairing.obstacles)}): fit both at the same layer to the same texts with "
            "the same seed, for example lens.fit(texts, layers=6) without and with the hook"
        )
    return change_finding(pairing)


def change_finding(pairing: Pairing) -> Finding:
    """The finding of a comparison whose documents can be paired."""
    change = PairedChange.of(*pairing.viewed, pairing.first.documents.group)
    few = len(change.unit) < FEWEST
    documents = counted(len(change.unit), "held-out document")
    why = f" Too few for intervals: at least {FEWEST} are needed." if few else ""
    conditions = "; ".join(pairing.conditions) or "the same model and hooks"
    return Finding(
        view=str(pairing.view),
        analyzer=NAME,
        headline=headline(change, few=few),
        reading=(
            f"From {pairing.first.folder.name} to {pairing.second.folder.name} ({conditions}), "
            f"over {documents}.{why} {READING}"
        ),
        estimates=estimates(change),
        arrays=prefixed(
            **{name: getattr(change, name).tensors() for name in (*SIZES, "gain")},
            documents={"unit": change.unit, "change": change.by_document},
        ),
        figures=(figure(change, documents),),
    )


def headline(change: PairedChange, *, few: bool) -> str:
    """What changes, as far as the intervals show it.

    >>> def interval(value, margin):
    ...     ends = (value, margin / 2, value - margin, value + margin)
    ...     return Interval(*map(torch.tensor, ends))
    >>> grown, same = interval(math.log(2.0), 0.1), interval(0.01, 0.1)
    >>> blank = torch.zeros(3, 12)
    >>> headline(PairedChange(grown, same, interval(-0.2, 0.1), blank[0].long(), blank), few=False)
    'Drift is 2.00 times as large, and gain is smaller; no change of noise is detected.'
    >>> headline(PairedChange(same, same, same, blank[0].long(), blank), few=True)
    'Too few held-out documents to compare.'
    """
    if few:
        return "Too few held-out documents to compare."
    changed, rest = [], []
    for name in (*SIZES, "gain"):
        interval: Interval = getattr(change, name)
        value = float(interval.value)
        if not math.isfinite(value):
            continue
        if float(interval.low) > ROUNDING or float(interval.high) < -ROUNDING:
            size = f"{math.exp(value):.2f} times as large" if name in SIZES else _more(value)
            changed.append(f"{name} is {size}")
        else:
            rest.append(name)
    sentences = [", and ".join(changed)] if changed else []
    if rest:
        sentences.append(f"no change of {', '.join(rest)} is detected")
    text = "; ".join(sentences)
    return f"{text[0].upper()}{text[1:]}."


def _more(value: float) -> str:
    return "larger" if value > 0 else "smaller"


def estimates(change: PairedChange) -> tuple[Estimate, ...]:
    """The changes with their intervals; those that have no value are left out."""
    units = {
        "drift": "log ratio of root mean squares",
        "noise": "log ratio of root mean squares",
        "gain": "nats per dimension",
    }
    found = []
    for name, unit in units.items():
        value, stderr, low, high = (float(t) for t in getattr(change, name).tensors().values())
        if not math.isfinite(value):
            continue
        ends = f", 95% [{low:.3g}, {high:.3g}]" if math.isfinite(low) else ""
        found.append(Estimate(name, value, stderr if math.isfinite(stderr) else None, unit + ends))
    return tuple(found)


def figure(change: PairedChange, documents: str) -> Figure:
    """The changes of single documents in order of size, with the change over all of them."""
    labels = ("log ratio of drift", "log ratio of noise", "change of gain, nats per dimension")
    panels = []
    for label, values, name in zip(labels, change.by_document, (*SIZES, "gain"), strict=True):
        x = torch.arange(len(values)).double()
        whole = getattr(change, name).value.double().expand(x.shape)
        layers = (
            Layer("scatter", {"x": x, "y": values.sort().values}, "one document"),
            Layer("line", {"x": x, "y": whole}, "all documents", series=1),
        )
        panels.append(Panel("documents in order", label, layers, name))
    return Figure(
        "documents", tuple(panels), f"The change of each of {documents}, and over all of them."
    )


def _run(given: OpenStudy | Run | str | PathLike[str]) -> Run:
    if isinstance(given, OpenStudy):
        return given.run
    if not isinstance(given, Run | str | PathLike):
        raise UsageError(
            f"compare takes two studies, runs or folders of runs, got {type(given).__name__}"
        )
    run = given if isinstance(given, Run) else Run(Path(given))
    require_run(run.folder)
    return run
