"""Checks of context and tokenizer."""

import torch

from sdelens.errors import UsageError, words_of
from sdelens.model_check.row import CheckRow
from sdelens.model_protocols import InspectableModel
from sdelens.protocols import LanguageModel, Site

LONGEST = 2048
"""Longest context that is run, through the first block."""
TEXT = "It isn't here , is it ? \"No .\" He said: I'm 3.5 m tall !\n\nTwo  spaces."
"""Has the places where a clean-up of spaces changes tokens."""


def context(model: LanguageModel) -> CheckRow:
    """The context is at most what the config says, and a text that fills it runs."""
    card, name = model.card, "context"
    limits = model.contexts() if isinstance(model, InspectableModel) else {}
    least = min(limits, key=lambda key: limits[key], default=None)
    if least is not None and limits[least] < card.context:
        words = f"{card.context:,} tokens, but {least} is {limits[least]:,}"
        return CheckRow(name, False, words)
    source = f" ({least})" if least else ""
    if card.context > LONGEST:
        return CheckRow(name, True, f"{card.context:,} tokens{source}, not run at full length")
    try:
        model.run(torch.zeros(1, card.context, dtype=torch.long), read=[Site("block", 0)])
    except (RuntimeError, IndexError, ValueError) as error:
        words = f"a text of {card.context:,} tokens{source} does not run ({words_of(error)})"
        return CheckRow(name, False, words)
    return CheckRow(name, True, f"{card.context:,} tokens{source}")


def tokenizer(model: LanguageModel) -> CheckRow:
    """The tokens of a text, written out and read again, are the same tokens."""
    name, card = "tokenizer", model.card
    try:
        ids = model.encode(TEXT)
    except UsageError:
        return CheckRow(name, None, "none: the model is used with token ids")
    if ids and card.vocabulary and max(ids) >= card.vocabulary:
        words = f"it gives id {max(ids)}, but the model has {card.vocabulary:,}: of another model"
        return CheckRow(name, False, words)
    written = "".join(model.decode(ids)).removeprefix(" ")
    again = model.encode(written)
    if again != ids:
        words = f"{len(ids)} tokens written out and read again are {len(again)} others"
        return CheckRow(name, False, f"{words}: {written!r}")
    bos = "no BOS" if card.bos is None else f"BOS {''.join(model.decode([card.bos]))!r}"
    return CheckRow(name, True, f"{len(ids)} tokens written out and read again; {bos}")
