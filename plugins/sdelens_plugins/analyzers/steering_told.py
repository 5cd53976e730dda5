"""What steering does, in a sentence and in numbers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sdelens.fitting.steering import Steering
from sdelens.report import Estimate, counted
from sdelens_plugins.analyzers.averages import Average
from sdelens_plugins.analyzers.dosed import (
    CONTROLS,
    DRAWN,
    FIT,
    MEAN,
    OTHERS,
    OWN,
    Dosed,
    over_texts,
)

NAMES = {
    OTHERS: "other tokens' drifts",
    DRAWN: "draws from the increments' covariance",
    MEAN: "the way to the mean state",
    OWN: "m* - X",
}
NOISES = NAMES | {OTHERS: "other steps' noise", MEAN: "the way from the mean state", OWN: "X - m*"}
MORE, LESS, SAME = "more than", "less than", "not shown to differ from"
UNITS = {"nats": "nats per word", "entropy": "nats", "distinct1": "of 1", "distinct2": "of 1"}
WORDS = {"nats": "nats per word", "entropy": "entropy of the next word"} | {
    f"distinct{n}": f"distinct-{n}" for n in (1, 2)
}


def headline(dosed: Dosed) -> str:
    """At the ends of both dose ranges, with intervals that hold all at once."""
    drifts = [s for s in dosed.steerings if s.how == "push" and s.drift]
    noises = [s for s in dosed.steerings if s.diffusion != 1]
    asked = list(dict.fromkeys([drifts[-1], drifts[0], noises[0]]))
    comparisons = len(asked) * len(CONTROLS)
    texts = counted(len(dosed.unsteered), "test document")
    told = " ".join(_told(dosed, steering, comparisons) for steering in asked)
    return f"One steered state, over {texts}. {told} {_written(dosed, asked)}"


def _told(dosed: Dosed, steering: Steering, comparisons: int) -> str:
    """How far the next word's law moves, and whether as long pushes move it as far."""
    names = NOISES if steering.diffusion != 1 else NAMES
    sides: dict[str, list[str]] = {MORE: [], LESS: [], SAME: []}
    for control in CONTROLS:
        lead = dosed.lead(control, steering, "first kl")
        low, high = lead.together(comparisons)
        known = lead.stderr is not None
        side = MORE if known and low > 0 else LESS if known and high < 0 else SAME
        sides[side].append(f"{names[control]} ({_signed(lead, (low, high))})")
    parts = "; ".join(f"{side} {', '.join(said)}" for side, said in sides.items() if said)
    own = over_texts(dosed[FIT, steering, "first kl"])
    return f"Under {steering} the next word's law moves by {own} nats: {parts}."


def _signed(lead: Average, ends: tuple[float, float]) -> str:
    low, high = ends
    within = "" if lead.stderr is None else f" [{low:.2f}, {high:.2f}]"
    return f"{lead.value:+.2f}{within}"


def _written(dosed: Dosed, asked: list[Steering]) -> str:
    """What it costs along the text."""
    own = over_texts(dosed.own("nats"))
    costs = ", ".join(f"{dosed.change(FIT, s, 'nats')} more under {s}" for s in asked)
    return (
        f"Left to itself the model's words cost {own} nats each, {costs}. Differences have "
        f"intervals that hold together in 95% ({len(asked) * len(CONTROLS)} comparisons)."
    )


def estimates(dosed: Dosed) -> tuple[Estimate, ...]:
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


def arrays(dosed: Dosed) -> Mapping[str, Tensor]:
    """Doses, and the scores of every text (columns: `METRICS`), unsteered and by direction."""
    hows = ("push", "remove", "project")
    named = {
        "drift": torch.tensor([s.dose for s in dosed.steerings]),
        "diffusion": torch.tensor([s.diffusion for s in dosed.steerings]),
        "how": torch.tensor([hows.index(s.how) for s in dosed.steerings]),
        "scores.unsteered": dosed.unsteered,
    }
    return named | {f"scores.{name}": scores for name, scores in dosed.scores.items()}
