"""Checks of the states: their shape, causality, padding, cache, and place in the model."""

from collections.abc import Iterator

import torch

from sdelens.errors import UsageError, words_of
from sdelens.model_check.passes import (
    blocks_of,
    difference,
    limit_of,
    stacked,
    states,
    tokens_of,
)
from sdelens.model_check.row import CheckRow, measured
from sdelens.model_protocols import InspectableModel, Inspection
from sdelens.protocols import LanguageModel, Site


def shape(model: LanguageModel) -> CheckRow:
    """Each block gives one state per token; the embedding may have another width."""
    tokens, width = tokens_of(model, rows=2), model.card.width
    expected = (*tokens.shape, width)
    reads = model.run(tokens, read=blocks_of(model)).reads
    for site in blocks_of(model):
        if reads[site].shape != expected:
            return CheckRow(
                "shape",
                False,
                f"{site} gives {list(reads[site].shape)} instead of {list(expected)}: models with "
                "several residual streams or other widths are not supported",
            )
    return CheckRow("shape", True, f"[batch, time, {width}] after each of {len(reads)} blocks")


def finite(model: LanguageModel) -> bool:
    """Whether all states can be squared; others are reported where they are recorded."""
    return bool(states(model, tokens_of(model)).square().isfinite().all())


def embedding(model: LanguageModel) -> CheckRow:
    """Whether the embedding is a state of the width of the blocks."""
    site, tokens = Site("embed"), tokens_of(model)
    try:
        found = model.run(tokens, read=[site]).reads[site]
    except Exception as error:  # adapters of one layer have none
        return CheckRow("embedding", None, f"not available: {words_of(error)}")
    if found.shape != (*tokens.shape, model.card.width):
        words = f"its width is {found.shape[-1]}: --layer embed and --axis layer cannot be used"
        return CheckRow("embedding", None, words)
    return CheckRow("embedding", True, f"[batch, time, {model.card.width}]")


def causal(model: LanguageModel) -> CheckRow:
    """States before the middle of a text do not change with its second half."""
    one = tokens_of(model)
    middle = one.shape[1] // 2
    other = one.clone()
    other[:, middle:] = (other[:, middle:] + 1) % max(2, model.card.vocabulary)
    before = (states(model, tokens)[:, :, :middle] for tokens in (one, other))
    return measured(
        "causal",
        difference(*before),
        limit_of(model),
        "states do not change with later tokens",
        "states change with later tokens, so they are not a process along the text: a model that "
        "attends in both directions cannot be used",
    )


def batching(model: LanguageModel) -> CheckRow:
    """A text alone has the states that it has in a batch with padding behind it."""
    batch = tokens_of(model, rows=3)
    length = max(1, batch.shape[1] // 2)
    alone = states(model, batch[1:2, :length])
    together = states(model, batch)[:, 1:2, :length]
    return measured(
        "padding and batching",
        difference(together, alone),
        limit_of(model),
        f"a text alone and in a padded batch are equal in {model.card.dtype}",
        f"a text alone and in a padded batch differ in {model.card.dtype}: its states depend on "
        "other texts or on padding",
    )


def cache(model: LanguageModel) -> CheckRow:
    """A text continued from a key-value cache has the states of the whole text."""
    tokens, sites = tokens_of(model), blocks_of(model)
    middle = tokens.shape[1] // 2
    try:
        first = model.run(tokens[:, :middle], read=sites, keep=True)
    except UsageError as error:  # the adapter says that it has none
        return CheckRow("cache", None, str(error))
    rest = model.run(tokens[:, middle:], read=sites, past=first.past, keep=True)
    continued = torch.cat([stacked(part.reads, sites) for part in (first, rest)], dim=2)
    return measured(
        "cache",
        difference(continued, states(model, tokens)),
        limit_of(model),
        "equal with and without key-value cache",
        "different with and without key-value cache: sampled texts would have other states",
    )


def of_library(model: LanguageModel) -> Iterator[CheckRow]:
    """What the library of the model says of its blocks and their states."""
    if not isinstance(model, InspectableModel):
        why = "the adapter does not count calls or give the library's own hidden states"
        yield CheckRow("one call per block and pass", None, why)
        yield CheckRow("right state", None, why)
        yield CheckRow("complete", None, why)
        return
    tokens = tokens_of(model, rows=2)
    found = model.inspect(tokens)
    yield calls(found)
    yield right_state(model, found)
    yield complete(found)


def calls(found: Inspection) -> CheckRow:
    """Each block runs once in a pass."""
    name = "one call per block and pass"
    for site, count in found.calls.items():
        if count != 1:
            return CheckRow(
                name,
                False,
                f"{site} is called {count} times in a pass, so its state is not unique: models "
                "that repeat blocks are not supported",
            )
    return CheckRow(name, True, f"{len(found.calls)} blocks, each called once")


def right_state(model: LanguageModel, found: Inspection) -> CheckRow:
    """The state after block k is the library's hidden state k + 1, except after the last.

    The library's last hidden state may come after the final norm, the state of the block does not.
    """
    name, blocks = "right state", model.card.blocks
    if found.hidden is None or len(found.hidden) != blocks + 1 or blocks == 1:
        return CheckRow(name, None, "the library gives no hidden states by block")
    own = states(model, found.tokens)
    theirs = torch.stack([value.float().cpu() for value in found.hidden[1:blocks]])
    return measured(
        name,
        difference(own[:-1], theirs),
        limit_of(model),
        "block k gives the library's hidden state k + 1",
        "the blocks that were found do not give the library's hidden states",
    )


def complete(found: Inspection) -> CheckRow:
    """Whether all weights come from the checkpoint."""
    if found.loading:
        return CheckRow("complete", True, found.loading)
    return CheckRow("complete", None, "the model was loaded by its user")
