"""What steering does, in a sentence and in numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sdelens.report import Estimate, counted
from sdelens.steering.doses import Steering
from sdelens_plugins.analyzers.steering.dose_response import (
    CONTROLS,
    DRAWN,
    FIT,
    MEAN,
    OTHERS,
    OWN,
    DoseResponse,
    over_texts,
)

NAMES = {
    OTHERS: "other tokens' drifts",
    DRAWN: "draws from the increments' covariance",
    MEAN: "the way to the mean state",
    OWN: "m* - X",
}
MEAN_PUSH = "as long a push to the mean state"
MORE, LESS, SAME = "more than", "less than", "not shown to differ from"
UNITS = {"nats": "nats per word", "entropy": "nats", "distinct1": "of 1", "distinct2": "of 1"}
WORDS = {"nats": "nats per word", "entropy": "entropy of the next word"} | {
    f"distinct{n}": f"distinct-{n}" for n in (1, 2)
}


def headline(dosed: DoseResponse) -> str:
    """What sets the fit apart from the way to the mean state, then all controls at most drift.

    All by intervals that hold at once for every dose and control.
    """
    drifts = [s for s in dosed.steerings if s.how == "push" and s.drift]
    return (
        f"{_concluded(dosed)} {_told(dosed, drifts[-1])} Differences have 95% intervals that hold "
        f"together ({_comparisons(dosed)} comparisons)."
    )


def _concluded(dosed: DoseResponse) -> str:
    """Whether the fit does what as long a push to the mean state would not do."""
    texts, doses = counted(len(dosed.unsteered), "test document"), len(dosed.steerings)
    sides: dict[str, list[str]] = {MORE: [], LESS: []}
    for steering in dosed.steerings:
        side, lead = _side(dosed, MEAN, steering)
        if side != SAME:
            sides[side].append(f"under {steering} ({lead})")
    apart = [f"{side} {MEAN_PUSH} {', '.join(said)}" for side, said in sides.items() if said]
    if not apart:
        return (
            f"Nothing sets the fit apart from {MEAN_PUSH}: at none of {doses} doses is it shown "
            f"to move the next word's law otherwise, over {texts}."
        )
    known = sum(map(len, sides.values()))
    return (
        f"One state steered by the fit moves the next word's law {'; '.join(apart)}, over "
        f"{texts}; at {doses - known} of {doses} doses no difference is shown."
    )


def _told(dosed: DoseResponse, steering: Steering) -> str:
    """How far the next word's law moves, and whether as long pushes move it as far."""
    sides: dict[str, list[str]] = {MORE: [], LESS: [], SAME: []}
    for control in CONTROLS:
        side, lead = _side(dosed, control, steering)
        sides[side].append(f"{NAMES[control]} ({lead})")
    parts = "; ".join(f"{side} {', '.join(said)}" for side, said in sides.items() if said)
    own = over_texts(dosed[FIT, steering, "first kl"]).value
    return f"Under {steering} the law moves by {own:.3g} nats: {parts}."


def _side(dosed: DoseResponse, control: str, steering: Steering) -> tuple[str, str]:
    """On which side of a control the fit is, and its lead with its interval."""
    lead = dosed.lead(control, steering, "first kl")
    if lead.stderr is None:
        return SAME, f"{lead.value:+.2f}"
    low, high = lead.simultaneous_ends(_comparisons(dosed))
    side = MORE if low > 0 else LESS if high < 0 else SAME
    return side, f"{lead.value:+.2f} [{low:.2f}, {high:.2f}]"


def _comparisons(dosed: DoseResponse) -> int:
    return len(dosed.steerings) * len(CONTROLS)


def estimates(dosed: DoseResponse) -> tuple[Estimate, ...]:
    """Unsteered values; by dose the next word's law, the leads over controls, and the changes."""
    found = [
        over_texts(dosed.own(metric)).estimate(f"{WORDS[metric]}, unsteered", UNITS[metric])
        for metric in WORDS
    ]
    for s in dosed.steerings:
        own = over_texts(dosed[FIT, s, "first kl"])
        found.append(own.estimate(f"KL of the next word, {s}", "nats"))
        for control in CONTROLS:
            lead = dosed.lead(control, s, "first kl")
            found.append(lead.estimate(f"KL, {s}: lead of the fit over {control}", "nats"))
    for s in dosed.steerings:
        for metric in ("nats", "entropy", "distinct2"):
            change = dosed.change(FIT, s, metric)
            found.append(change.estimate(f"change of {WORDS[metric]}, {s}", UNITS[metric]))
    return tuple(found)


def arrays(dosed: DoseResponse) -> Mapping[str, Tensor]:
    """Doses, and the scores of every text (columns: `METRICS`), unsteered and by direction."""
    hows = ("push", "remove", "project")
    named = {
        "drift": torch.tensor([s.dose for s in dosed.steerings]),
        "diffusion": torch.tensor([s.diffusion for s in dosed.steerings]),
        "how": torch.tensor([hows.index(s.how) for s in dosed.steerings]),
        "scores.unsteered": dosed.unsteered,
    }
    return named | {f"scores.{name}": scores for name, scores in dosed.scores.items()}
