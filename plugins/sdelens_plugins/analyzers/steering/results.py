"""Sentences, estimates and arrays of a dose response."""

from collections.abc import Mapping

import torch
from torch import Tensor

from sdelens.estimation.ratio import FEWEST
from sdelens.report import Estimate
from sdelens.steering.doses import Steering
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.word_list import word_list
from sdelens_plugins.analyzers.steering.dose_response import (
    CONTROLS,
    FIT,
    INCREMENT_DRAWS,
    MODEL_MEAN,
    OTHER_TOKENS,
    TO_MEAN,
    DoseResponse,
    text_mean,
)

CONTROL_NAMES = {
    OTHER_TOKENS: "other tokens' drifts",
    INCREMENT_DRAWS: "draws from the increments' covariance",
    TO_MEAN: "a push to the mean state",
    MODEL_MEAN: "m* - X",
}
MORE, LESS, SAME = "more than", "less than", "not significantly different from"
UNITS = {"nats": "nats per token", "entropy": "nats", "distinct1": "of 1", "distinct2": "of 1"}
METRIC_NAMES = {"nats": "nats per token", "entropy": "entropy of the next token"} | {
    f"distinct{n}": f"distinct-{n}" for n in (1, 2)
}
READING = (
    "While the model writes, its state X at the fit's layer is moved at every generated position, "
    "and the rest of the network continues from there; the prompt's states are unchanged. With "
    "the mean m of the fit, drift a replaces X by X + a (m(X) - X), and diffusion s replaces X by "
    "m + sqrt(s) (X - m), where m is the fit's mean given the previous, steered state. remove "
    "takes the predicted part out of the step; project takes out the part of the state along the "
    "drift. The subspace outside the basis is unchanged. The effect on the next token is "
    "KL(unsteered || steered) after the same tokens, at the first steered state and as a mean "
    "along the text. Any push has some effect, so the controls are pushes of the same length (in "
    "training-standardised coordinates) in other directions, at the same doses and with the same "
    "random numbers. A push to the mean state uses no knowledge of how states move, and the drift "
    "is largely a return to the mean, so compare the fit with it first. A larger effect of the "
    "fit is not a better drift. m* - X points to the model's own mean next state, estimated from "
    "a few sampled tokens. Estimates and figures have single 95% intervals, some of which exclude "
    "zero by chance; a difference whose interval contains zero is not significant. An effect "
    "shows that the network reads this direction, not that it computes the drift; a state that "
    "was pushed far is one that the model never visits. Nats per token, entropy and distinct-n "
    "describe whole texts, which differ after their first changed token."
)


def headline(result: DoseResponse) -> str:
    """At which doses the fit acts differently from an equally long push to the mean state.

    By intervals that hold simultaneously for all doses and controls.
    """
    texts = counted(len(result.unsteered), "test document")
    if len(result.unsteered) < FEWEST:
        return (
            "Whether steering by the fit differs from a push of the same length "
            f"to the mean state is not judged from {texts}: at least {FEWEST} are needed."
        )
    doses: dict[str, list[str]] = {MORE: [], LESS: []}
    for steering in result.steerings:
        side, _ = _side(result, TO_MEAN, steering)
        if side != SAME:
            doses[side].append(str(steering))
    if not any(doses.values()):
        return (
            "At no dose does steering by the fit change the next-token distribution "
            f"significantly differently from a push of the same length to the mean state "
            f"({texts})."
        )
    parts = " and ".join(
        f"{side} a push of the same length to the mean state at {word_list(names)}"
        for side, names in doses.items()
        if names
    )
    return f"Steering by the fit changes the next-token distribution {parts} ({texts})."


def reading(result: DoseResponse) -> str:
    """How the largest drift compares with every control, then how to read the finding."""
    drifts = [s for s in result.steerings if s.how == "push" and s.drift]
    return f"{comparison(result, drifts[-1])} {READING}"


def comparison(result: DoseResponse, steering: Steering) -> str:
    """The effect of the fit at one dose, compared with every control."""
    sides: dict[str, list[str]] = {MORE: [], LESS: [], SAME: []}
    for control in CONTROLS:
        side, lead = _side(result, control, steering)
        sides[side].append(f"{CONTROL_NAMES[control]} ({lead})")
    parts = "; ".join(f"{side} {', '.join(names)}" for side, names in sides.items() if names)
    kl = text_mean(result[FIT, steering, "first kl"]).value
    return (
        f"At {steering} the next-token distribution changes by {kl:.3g} nats: {parts} "
        f"({_kind_of_interval(result)})."
    )


def _kind_of_interval(result: DoseResponse) -> str:
    if len(result.unsteered) < FEWEST:
        return f"standard errors; intervals need {FEWEST} documents"
    return f"95% intervals that hold simultaneously for {_comparisons(result)} comparisons"


def _side(result: DoseResponse, control: str, steering: Steering) -> tuple[str, str]:
    """Whether the fit's effect is larger than a control's, and the difference in words."""
    lead = result.lead(control, steering, "first kl")
    if lead.stderr is None:
        return SAME, f"{lead.value:+.2f}"
    if lead.documents < FEWEST:
        return SAME, f"{lead.value:+.2f} ± {lead.stderr:.2f}"
    low, high = lead.simultaneous_ends(_comparisons(result))
    side = MORE if low > 0 else LESS if high < 0 else SAME
    return side, f"{lead.value:+.2f} [{low:.2f}, {high:.2f}]"


def _comparisons(result: DoseResponse) -> int:
    return len(result.steerings) * len(CONTROLS)


def estimates(result: DoseResponse) -> tuple[Estimate, ...]:
    """Unsteered values, then by dose the effect, its lead over controls, and the changes."""
    rows = [
        text_mean(result.unsteered_scores(metric)).estimate(f"{name}, unsteered", UNITS[metric])
        for metric, name in METRIC_NAMES.items()
    ]
    for s in result.steerings:
        kl = text_mean(result[FIT, s, "first kl"])
        rows.append(kl.estimate(f"KL of the next token, {s}", "nats"))
        for control in CONTROLS:
            lead = result.lead(control, s, "first kl")
            rows.append(lead.estimate(f"KL, {s}: lead of the fit over {control}", "nats"))
    for s in result.steerings:
        for metric in ("nats", "entropy", "distinct2"):
            change = result.change(FIT, s, metric)
            rows.append(change.estimate(f"change of {METRIC_NAMES[metric]}, {s}", UNITS[metric]))
    return tuple(rows)


def arrays(result: DoseResponse) -> Mapping[str, Tensor]:
    """Doses, and the scores of every text (columns: `METRICS`), unsteered and by direction."""
    hows = ("push", "remove", "project")
    return {
        "drift": torch.tensor([s.dose for s in result.steerings]),
        "diffusion": torch.tensor([s.diffusion for s in result.steerings]),
        "how": torch.tensor([hows.index(s.how) for s in result.steerings]),
        "scores.unsteered": result.unsteered,
    } | {f"scores.{name}": scores for name, scores in result.scores.items()}
