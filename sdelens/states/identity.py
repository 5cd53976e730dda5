"""Whether a model is the one whose states were captured: its weights and its hooks."""

from dataclasses import replace
from typing import NamedTuple

from sdelens.model_protocols import NamedHooks
from sdelens.origin import ModelCard
from sdelens.protocols import LanguageModel
from sdelens.states.reference import reference_states, same_states

FIELDS = {
    "hook": "layer at",
    "weights": "weights",
    "dtype": "type",
    "blocks": "blocks",
    "width": "width",
}
"""Properties of a card that must be equal, with their names in messages."""
UNNAMED = "unnamed hooks"
"""The hooks of a model that does not name them."""


class Difference(NamedTuple):
    """What differs, and its value in either model."""

    what: str
    there: object
    here: object

    def __str__(self) -> str:
        return f"{self.what} {_short(self.there)} there, {_short(self.here)} here"


def hooks_of(model: LanguageModel) -> tuple[str, ...]:
    """The user's hooks that may change the computation, as ``function at module``."""
    if isinstance(model, NamedHooks):
        return tuple(model.hooks())
    return (UNNAMED,) if model.hooked() else ()


def identified(model: LanguageModel) -> ModelCard:
    """The card of a model with its hooks and its states on the reference text."""
    return replace(model.card, hooks=hooks_of(model), reference=reference_states(model))


def other_weights(made: ModelCard, model: LanguageModel) -> tuple[Difference, ...]:
    """What distinguishes the weights of a model from those of the card `made`.

    They are compared by their fingerprint, and across the layouts of two libraries by the states
    on the reference text, in float32.
    """
    card = model.card
    found = tuple(
        Difference(name, getattr(made, field), getattr(card, field))
        for field, name in FIELDS.items()
        if getattr(made, field) != getattr(card, field)
    )
    if made.fingerprint == card.fingerprint:
        return found
    comparable = not found and made.layout != card.layout and card.dtype == "float32"
    if comparable and same_states(made.reference, reference_states(model), card.dtype):
        return ()
    other = Difference("fingerprint", made.fingerprint, card.fingerprint)
    return (*found, other, *(_names(made, model) if comparable else ()))


def other_hooks(made: ModelCard, model: LanguageModel) -> tuple[Difference, ...]:
    """What distinguishes the user's hooks on a model from those of the card `made`.

    They are compared by the states on the reference text, because names do not determine what they
    do. If these states are unknown, the names must be equal.
    """
    card = replace(model.card, hooks=hooks_of(model))
    if not made.hooks and not card.hooks:
        return ()
    here = reference_states(model)
    known = bool(made.reference and here)
    if same_states(made.reference, here, card.dtype) if known else made.hooks == card.hooks:
        return ()
    under = f"under the hooks {made.hook_words}"
    return _names(made, model) or (Difference("states", under, f"others {under}"),)


def _names(made: ModelCard, model: LanguageModel) -> tuple[Difference, ...]:
    """The names of the hooks, if they differ."""
    card = replace(model.card, hooks=hooks_of(model))
    if made.hooks == card.hooks:
        return ()
    return (Difference("hooks", made.hook_words, card.hook_words),)


def _short(value: object) -> str:
    """A value for a message; hashes are shortened."""
    return value[:12] if isinstance(value, str) and len(value) == 64 else str(value)
