"""Text that a model writes while a fit displaces its states."""

import math
from dataclasses import replace
from typing import Any, Literal

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import own_random_state
from sdelens.states.capturing import sites_of
from sdelens.states.identity import other_hooks, other_weights
from sdelens.states.sampling import LEAST
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
    """Generate a continuation of `prompt` with and without steering by a fit.

    At every generated position, at the fit's layer, the state X becomes X + a (m(X) - X), where a
    is `drift`, and the step to it becomes m(X before) + sqrt(s) (X - m(X before)), where s is
    `diffusion`; see `sdelens.steering.doses` for the order and for ``remove`` and ``project``.
    States of the prompt are not changed. Both texts use the same random numbers; `temperature` 0
    takes the most likely token. `model` is anything that `sdelens.capture` accepts and must be
    the model of the fit; `layer` selects the site of a fit that does not record it. Raises
    `UsageError` for a different model and for a fit along the depth.
    """
    steering, own = Steering(drift, diffusion), language_model(model)
    if steering == Steering():
        raise UsageError("this steering changes nothing: give drift=0.5, or diffusion=0.8")
    if temperature != 0 and not LEAST <= temperature < math.inf:
        raise UsageError(
            f"temperature must be 0 or more, at least {LEAST} unless it is 0, and finite, got "
            f"{temperature}"
        )
    _require_same(fitted, own)
    skipped = 1 if fitted.origin is None else fitted.origin.skip_first
    writer = Writer(own, _site(fitted, own, layer), fitted.law, fitted.basis, skipped)
    writer = replace(writer, temperature=temperature)
    with own_random_state(own.device):  # a hook of the model may draw
        return steered_text(writer, prompt, steering, tokens=tokens, seed=seed)


def _require_same(fitted: Fitted, model: LanguageModel) -> None:
    """Raise `UsageError` unless the model is that of the fit, as far as the fit records it."""
    width, card = len(fitted.basis.encoder), model.card
    if card.width != width:
        raise UsageError(
            f"the fit is of states of {width} coordinates, but states of {card.name} have "
            f"{card.width}: give the model of the fit"
        )
    if fitted.origin is None:
        return
    made = fitted.origin.model
    for what, there, here in (*other_weights(made, model), *other_hooks(made, model)):
        raise UsageError(
            f"the fit is of states of {made.name} with the {what} {there}, but this "
            f"{card.name} has {here}: give the model of the fit"
        )


def _site(fitted: Fitted, model: LanguageModel, layer: int | str | None) -> Site:
    """The site of the fitted states."""
    if fitted.view is not None and fitted.view.axis == "layer":
        raise UsageError(
            "steering needs a fit along the tokens, but this fit is along the depth: fit with "
            "--axis token"
        )
    if layer is None and fitted.view is not None:
        return fitted.view.site
    recorded = "" if fitted.origin is None else fitted.origin.hook
    if layer is None and (not recorded or " " in recorded):
        what = f"of states recorded at {recorded}" if recorded else "of states without a model"
        raise UsageError(f"this fit is {what}: choose the layer to steer with layer=")
    every = sites_of("embed,all" if layer is None else layer, model)
    named = [site for site in every if layer is not None or str(site) == recorded]
    if len(named) != 1:
        raise UsageError(
            f"layer must be one layer of {model.card.name}, got "
            f"{recorded if layer is None else layer}"
        )
    return named[0]
