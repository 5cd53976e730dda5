"""How much of the motion of states is drift, by class of token."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Study
from sdelens.language.increment_shares import Shares, SquaredIncrements
from sdelens.language.token_class import TokenClass, classify
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval

LEAST = 20
"""Classes with fewer transitions are left out."""
ENDS = {"from": "the token that is left", "to": "the token that is reached"}
READING = (
    "Motion is the squared distance between a state and the next, in standard deviations of each "
    "coordinate over training; drift is the part of it that the mean of the fit foretells, 0 for "
    "the random walk. States that are drawn afresh at each position have a share of one half: "
    "a state far out is followed by one nearer to the mean. Hence the comparison with the mean "
    "training state, which knows nothing of the text: what the fit adds to it is the share that "
    "is owed to the current state. Classes by the token that is left are known before the step, "
    "so that a calibrated fit has no gap in any of them; by the token that is reached they are "
    "not, and a gap there says only which words surprise. A share is of this fit: another probe "
    "may foretell more. Classes are by a plain rule on the tokens' text (English function words; "
    "pieces of words), which errs. Shares do not say that the motion is a diffusion."
)
NO_MODEL = "There is no language model here to give tokens their text, so that all are one class."


@dataclass(frozen=True)
class DriftShareAnalyzer:
    """Drift and noise as shares of the motion, and whether the noise has the right size.

    Over the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    documents: int = 256

    def __post_init__(self) -> None:
        if self.documents < 1:
            raise UsageError(f"documents must be at least 1, got {self.documents}")

    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        held = HeldOutDocuments.of(study, documents=self.documents)
        motion = SquaredIncrements.of(viewed.fitted, viewed.fitted.encoded(held.paths))
        unit = held.unit[motion.document]
        one = torch.zeros_like(unit)
        whole = Shares.of(motion, one, unit, kinds=1, seed=derive(seed, "all"))
        parts = {
            end: Shares.of(motion, kind, unit, kinds=len(TokenClass), seed=derive(seed, end))
            for end, kind in _classes(study, held, motion).items()
        }
        documents = len(torch.unique(unit))
        return Finding(
            view=str(view),
            headline=headline(whole, parts, documents),
            reading=" ".join([*([] if parts else [NO_MODEL]), READING]),
            estimates=estimates(whole, parts),
            arrays=arrays(whole, parts),
            figures=figures(whole, parts, documents),
        )


def _classes(
    study: Study, held: HeldOutDocuments, motion: SquaredIncrements
) -> dict[str, Int[Tensor, " row"]]:
    """The class of the token at either end of each step; nothing where tokens have no text."""
    if study.model is None or held.documents is None:
        return {}
    known = torch.full(held.documents.padded().shape, int(TokenClass.OTHER))
    for number, document in enumerate(held.documents):
        kinds = classify(study.model.decode(document.tokens))
        known[number, : len(kinds)] = torch.tensor(kinds)
    row, position = held.row(motion.document), motion.position.long()
    return {"from": known[row, position], "to": known[row, position + 1]}


def shown(shares: Shares) -> list[TokenClass]:
    """The classes that are common enough."""
    return [kind for kind in TokenClass if shares.count[kind] >= LEAST]


def headline(whole: Shares, parts: dict[str, Shares], documents: int) -> str:
    """What share of the motion is drift, and where it is least and most."""
    said = (
        f"On {counted(documents, 'test document')} drift is {with_interval(whole.drift[0], 2)} of "
        "the "
        f"motion, {_compared(whole)}, and the noise is {_off(whole.gap[0])}."
    )
    kinds = shown(parts["from"]) if parts else []
    if len(kinds) < 2:
        return said
    ranked = sorted(kinds, key=lambda kind: float(parts["from"].drift.value[kind]))
    low, high = (f"{float(parts['from'].drift.value[k]):.2f}" for k in (ranked[0], ranked[-1]))
    return (
        f"{said} By the token that is left, the share runs from {low} ({ranked[0].label}) to "
        f"{high} ({ranked[-1].label})."
    )


def _compared(whole: Shares) -> str:
    """With the better of the two laws that know nothing of what comes."""
    if float(whole.mean.value[0]) <= 0:
        return "where the random walk has none and the mean state alone is worse"
    return f"{with_interval(whole.lead[0], 2)} more than the mean state alone foretells"


def _off(gap: Interval) -> str:
    """Whether the noise has the right size."""
    value, low, high = (float(part) for part in (gap.value, gap.low, gap.high))
    if low != low:  # one document has no interval
        return f"{value:+.1%} off the residuals' size"
    size = f"{abs(value):.1%}"
    if low <= 0 <= high:
        return f"within its error of the residuals' size ({value:+.1%} [{low:+.1%}, {high:+.1%}])"
    return f"{size} too {'large' if value > 0 else 'small'} [{low:+.1%}, {high:+.1%}]"


def estimates(whole: Shares, parts: dict[str, Shares]) -> tuple[Estimate, ...]:
    """Of all transitions, and of each class that is common enough."""
    found = _of(whole, 0, "all transitions")
    for end, shares in parts.items():
        for kind in shown(shares):
            found += _of(shares, kind, f"{end} {kind.label}")
    return tuple(found)


def _of(shares: Shares, index: int, name: str) -> list[Estimate]:
    steps = counted(int(shares.count[index]), "transition")
    return [
        estimate(f"drift, {name}", shares.drift[index], f"of the motion ({steps})"),
        estimate(f"drift above the mean state's, {name}", shares.lead[index], "of the motion"),
        estimate(f"noise of the fit, {name}", shares.noise[index], "of the motion"),
        estimate(f"noise over squared residual less 1, {name}", shares.gap[index], "(0 expected)"),
        estimate(f"motion, {name}", shares.motion[index], "standardised variances per dimension"),
    ]


def arrays(whole: Shares, parts: dict[str, Shares]) -> dict[str, Tensor]:
    """Every share with its interval."""
    named = {}
    for group, shares in {"all": whole, **parts}.items():
        named[f"{group}.count"] = shares.count
        for name in ("drift", "noise", "mean", "lead", "gap", "motion"):
            named |= prefixed(**{f"{group}.{name}": getattr(shares, name).tensors()})
    return named


def figures(whole: Shares, parts: dict[str, Shares], documents: int) -> tuple[Figure, ...]:
    """Shares beside those of the mean state, and the calibration gap."""
    many = f"with 95% intervals over {counted(documents, 'test document')}"
    groups = {f"By {ENDS[end]}": shares for end, shares in parts.items()} or {"": whole}
    share = tuple(
        Panel("", "share of the motion", _share(shares, bool(parts)), title)
        for title, shares in groups.items()
    )
    gap = tuple(
        Panel("", "noise over squared residual, less 1", _gap(shares, bool(parts)), title)
        for title, shares in groups.items()
    )
    return (
        Figure(
            "shares",
            share,
            f"The share of the motion that is drift, {many}, and (points) what the mean training "
            "state alone foretells of it.",
        ),
        Figure(
            "calibration",
            gap,
            f"By how much the noise of the fit is larger than its squared residuals, {many}: 0 "
            "where it has the right size.",
        ),
    )


def _share(shares: Shares, classed: bool) -> tuple[Layer, ...]:
    bars, kinds = _bars(shares, shares.drift, classed)
    mean = shares.mean.value[kinds]
    if not bool((mean > 0).any()):
        return (bars,)
    # where it is worse than the random walk, there is nothing to compare with
    points = {"x": bars.values["x"], "y": mean.where(mean > 0, torch.nan)}
    return bars, Layer("scatter", points, "mean state alone", series=1)


def _gap(shares: Shares, classed: bool) -> tuple[Layer, ...]:
    return (_bars(shares, shares.gap, classed)[0],)


def _bars(shares: Shares, part: Interval, classed: bool) -> tuple[Layer, list[int]]:
    kinds: list[int] = [int(kind) for kind in shown(shares)] if classed else [0]
    words = tuple(TokenClass(k).label for k in kinds) if classed else ("all transitions",)
    x = torch.arange(len(kinds)).double()
    ends = {"x": x} | {
        role: getattr(part, name)[kinds]
        for role, name in (("y", "value"), ("low", "low"), ("high", "high"))
    }
    return Layer("bars", ends, "fit", words=words), kinds
