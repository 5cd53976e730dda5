"""Text that a model writes while a fit displaces its states."""

from dataclasses import replace
from typing import Any, Literal

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import own_random_state
from sdelens.states.capturing import sites_of
from sdelens.steering.doses import Steering
from sdelens.steering.steered_text import SteeredText, steered_text
from sdelens.steering.writer import Writer


def steer(
    fitted: Fitted,
    model: Any,
    prompt: str,
    *,
    drift: float | Literal["remove", "project"] = 0.0,
    diffusion: float = 1.0,
    tokens: int = 40,
    temperature: float = 1.0,
    seed: int = 0,
    layer: int | str | None = None,
) -> SteeredText:
    """What the model writes with its states moved by this fit, beside what it writes itfitted.

    At every generated position, and at the fit's layer, the state X becomes X + a (m(X) - X)
    with a the `drift`, and the step to it m(X before) + sqrt(s) (X - m(X before)) with s the
    `diffusion`; `sdelens.steering.doses` has the order, and what ``remove`` and ``project``
    are. The prompt's states stay. Both texts are drawn by the same numbers; `temperature` 0
    takes the likeliest words. `model` is anything that `sdelens.capture` takes, and must be
    that of the fit; `layer` says where, for a fit that does not know it. Raises `UsageError`
    for another model, and for a fit along the depth.
    """
    steering, own = Steering(drift, diffusion), language_model(model)
    if steering == Steering():
        raise UsageError("steering by nothing: give drift=0.5, or diffusion=0.8")
    if not temperature >= 0:
        raise UsageError(f"temperature must be 0 or more, got {temperature}")
    _require_same(fitted, own)
    skipped = 1 if fitted.origin is None else fitted.origin.skip_first
    writer = Writer(own, _site(fitted, own, layer), fitted.law, fitted.basis, skipped)
    writer = replace(writer, temperature=temperature)
    with own_random_state(getattr(own, "device", "cpu")):  # a hook of the model may draw
        return steered_text(writer, prompt, steering, tokens=tokens, seed=seed)


def _require_same(fitted: Fitted, model: LanguageModel) -> None:
    """An error for another model than that of the fit, as far as the fit knows its own."""
    width, card = len(fitted.basis.encoder), model.card
    if card.width != width:
        raise UsageError(
            f"the fit is of states of {width} coordinates, but those of {card.name} have "
            f"{card.width}: give the model of the fit"
        )
    made = card if fitted.origin is None else fitted.origin.model
    for what in ("fingerprint", "hook"):
        there, here = (getattr(each, what) for each in (made, card))
        if there != here:
            raise UsageError(
                f"the fit is of states of {made.name} with the {what} {there}, but this "
                f"{card.name} has {here}: give the model of the fit"
            )


def _site(fitted: Fitted, model: LanguageModel, layer: int | str | None) -> Site:
    """Where in a model the states are that were fitted."""
    if fitted.view is not None and fitted.view.axis == "layer":
        raise UsageError(
            "steering moves states along the text, but this fit is along the depth: fit with "
            "--axis token"
        )
    if layer is None and fitted.view is not None:
        return fitted.view.site
    recorded = "" if fitted.origin is None else fitted.origin.hook
    if layer is None and (not recorded or " " in recorded):
        what = f"recorded at {recorded}" if recorded else "of states that no model is known of"
        raise UsageError(f"this fit is {what}: say which layer is steered by layer=")
    every = sites_of("embed,all" if layer is None else layer, model)
    named = [site for site in every if layer is not None or str(site) == recorded]
    if len(named) != 1:
        raise UsageError(
            f"one layer can be steered at once, and {model.card.name} must have it; got "
            f"{recorded if layer is None else layer}"
        )
    return named[0]
