"""The share of drift in the motion of states, by class of token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Study
from sdelens.language.increment_shares import IncrementShares, SquaredIncrements
from sdelens.language.token_class import TokenClass, classify
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.settings import require_at_least
from sdelens.summary import DRIFT
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.intervals import (
    estimate,
    intervals_over,
    percent_with_interval,
)

MIN_TRANSITIONS = 20
"""Classes with fewer transitions are left out."""
ENDS = {"from": "the token that is left", "to": "the token that is reached"}
READING = (
    "Motion is the squared distance between a state and the next, in training standard deviations "
    "of each coordinate. Drift is the part of it that the mean of the fit predicts, 0 for the "
    "random walk. States drawn independently at each position have a share of one half: a state "
    "far out is followed by one nearer to the mean. It is therefore compared with the mean "
    "training state, which ignores the text: what the fit adds to it is due to the current state. "
    "Classes by the token that is left are known before the step, so a calibrated fit has no gap "
    "in any of them; classes by the token that is reached are not, and a gap there only shows "
    "which tokens surprise. Shares depend on the fit: another probe may predict more. Classes "
    "follow a simple rule on the tokens' text (English function words; pieces of words), which "
    "makes errors. Shares do not show that the motion is a diffusion."
)
NO_MODEL = "Without a language model tokens have no text, so all transitions are one class."


@dataclass(frozen=True)
class DriftShareAnalyzer:
    """Drift and noise as shares of the motion, and whether the noise has the right size.

    Over the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = DRIFT
    cost: ClassVar[str] = "seconds"
    documents: int = 256

    def __post_init__(self) -> None:
        require_at_least(self, documents=1)

    def analyze(self, study: Study, *, seed: int) -> Finding:
        del seed  # nothing is drawn
        view, viewed = study.single
        held_out = HeldOutDocuments.of(study, documents=self.documents)
        motion = SquaredIncrements.of(viewed.fitted, viewed.fitted.encoded(held_out.paths))
        unit = held_out.unit[motion.document]
        whole = IncrementShares.of(motion, torch.zeros_like(unit), unit, kinds=1)
        parts = {
            end: IncrementShares.of(motion, kind, unit, kinds=len(TokenClass))
            for end, kind in _classes(study, held_out, motion).items()
        }
        return Finding(
            view=str(view),
            headline=headline(whole),
            reading=" ".join([*([] if parts else [NO_MODEL]), READING]),
            estimates=estimates(whole, parts),
            arrays=arrays(whole, parts),
            figures=figures(whole, parts, len(torch.unique(unit))),
        )


def _classes(
    study: Study, held_out: HeldOutDocuments, motion: SquaredIncrements
) -> dict[str, Int[Tensor, " row"]]:
    """The class of the token at either end of each step; empty if tokens have no text."""
    if study.model is None or held_out.documents is None:
        return {}
    classes = torch.full(held_out.documents.padded().shape, int(TokenClass.OTHER))
    for number, document in enumerate(held_out.documents):
        kinds = classify(study.model.decode(document.tokens))
        classes[number, : len(kinds)] = torch.tensor(kinds)
    row, position = held_out.row(motion.document), motion.position.long()
    return {"from": classes[row, position], "to": classes[row, position + 1]}


def common_classes(shares: IncrementShares) -> list[TokenClass]:
    """The classes with at least `MIN_TRANSITIONS` transitions."""
    return [kind for kind in TokenClass if shares.count[kind] >= MIN_TRANSITIONS]


def headline(whole: IncrementShares) -> str:
    """The share of drift, its lead over the mean state, and the size of the noise."""
    if float(whole.mean.value[0]) <= 0:
        lead = "where the mean state alone predicts none"
    else:
        lead = f"{percent_with_interval(whole.lead[0])} more than the mean state alone"
    return (
        f"Drift predicts {percent_with_interval(whole.drift[0])} of the motion, {lead}, and the "
        f"noise of the fit is {_noise_size(whole.gap[0])}."
    )


def _noise_size(gap: Interval) -> str:
    """Whether the noise has the size of the residuals."""
    low, high = float(gap.low), float(gap.high)
    if low != low:  # one document has no interval
        return "not tested"
    if low <= 0 <= high:
        return "consistent with the residuals"
    return f"too {'large' if low > 0 else 'small'}"


def estimates(whole: IncrementShares, parts: dict[str, IncrementShares]) -> tuple[Estimate, ...]:
    """Shares of all transitions, and of each common class."""
    rows = _estimates(whole, 0, "all transitions")
    for end, shares in parts.items():
        for kind in common_classes(shares):
            rows += _estimates(shares, kind, f"{end} {kind.label}")
    return tuple(rows)


def _estimates(shares: IncrementShares, index: int, name: str) -> list[Estimate]:
    steps = counted(int(shares.count[index]), "transition")
    return [
        estimate(f"drift, {name}", shares.drift[index], f"of the motion ({steps})"),
        estimate(f"drift above the mean state's, {name}", shares.lead[index], "of the motion"),
        estimate(f"noise of the fit, {name}", shares.noise[index], "of the motion"),
        estimate(
            f"noise over squared residual minus 1, {name}", shares.gap[index], "(0 expected)"
        ),
        estimate(f"motion, {name}", shares.motion[index], "standardised variances per dimension"),
    ]


def arrays(whole: IncrementShares, parts: dict[str, IncrementShares]) -> dict[str, Tensor]:
    """Every share with its interval."""
    named = {}
    for group, shares in {"all": whole, **parts}.items():
        named[f"{group}.count"] = shares.count
        for name in ("drift", "noise", "mean", "lead", "gap", "motion"):
            named |= prefixed(**{f"{group}.{name}": getattr(shares, name).tensors()})
    return named


def figures(
    whole: IncrementShares, parts: dict[str, IncrementShares], documents: int
) -> tuple[Figure, ...]:
    """Shares beside those of the mean state, and the calibration gap."""
    intervals = intervals_over(counted(documents, "test document"), whole.drift.low)
    groups = {f"By {ENDS[end]}": shares for end, shares in parts.items()} or {"": whole}
    drift, gap = (
        tuple(
            Panel("", label, layers(shares, bool(parts)), title, share=label)
            for title, shares in groups.items()
        )
        for label, layers in (
            ("share of the motion", _drift_layers),
            ("noise over squared residual, minus 1", _gap_layers),
        )
    )
    return (
        Figure(
            "shares",
            drift,
            f"The share of the motion that is drift, {intervals}; points are the share that the "
            "mean training state alone predicts.",
        ),
        Figure(
            "calibration",
            gap,
            f"The noise of the fit relative to its squared residuals, minus 1, {intervals}: 0 "
            "where the noise has the right size.",
        ),
    )


def _drift_layers(shares: IncrementShares, classed: bool) -> tuple[Layer, ...]:
    bars, kinds = _bars(shares, shares.drift, classed)
    mean = shares.mean.value[kinds]
    if not bool((mean > 0).any()):
        return (bars,)
    # no comparison where the mean state is worse than the random walk
    points = {"x": bars.values["x"], "y": mean.where(mean > 0, torch.nan)}
    return bars, Layer("scatter", points, "mean state alone", series=1)


def _gap_layers(shares: IncrementShares, classed: bool) -> tuple[Layer, ...]:
    return (_bars(shares, shares.gap, classed)[0],)


def _bars(shares: IncrementShares, part: Interval, classed: bool) -> tuple[Layer, list[int]]:
    kinds: list[int] = [int(kind) for kind in common_classes(shares)] if classed else [0]
    words = tuple(TokenClass(k).label for k in kinds) if classed else ("all transitions",)
    x = torch.arange(len(kinds)).double()
    ends = {"x": x} | {
        role: getattr(part, name)[kinds]
        for role, name in (("y", "value"), ("low", "low"), ("high", "high"))
    }
    return Layer("bars", ends, "fit", words=words), kinds
