"""What documents and their states must satisfy."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.origin import ModelCard
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import LanguageModel, Site

LARGEST = 1e15
"""Size of a state from which sums of its squares may overflow in float32.

A thousand coordinates of 1e15 have squares that sum to 1e33. The norm layers of the model and the
norms of analyzers take such sums of raw states; no working model comes near. Arrays from
elsewhere, which are in any unit and never squared before they are standardised, have a wider
bound (`sdelens.paths.from_arrays`).
"""


def require_readable(model: LanguageModel, documents: Documents) -> None:
    """Raise `UsageError` for documents beyond the context or with ids outside the vocabulary.

    Some models read positions beyond their context without notice.
    """
    longest = int(documents.lengths.max())
    if longest > model.card.context:
        raise UsageError(
            f"documents must fit the {model.card.context}-token context of {model.card.name}, "
            f"but one has {longest} tokens: give a smaller length (--length)"
        )
    require_vocabulary(model.card, documents.tokens)


def require_vocabulary(card: ModelCard, ids: Int[Tensor, " token"]) -> None:
    """Raise `UsageError` for token ids that the model does not have."""
    known = card.vocabulary or 2**62  # unknown for a module without an embedding
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < known:
        raise UsageError(
            f"token ids of {card.name} are 0 to {known - 1}, got {int(ids.min())} to "
            f"{int(ids.max())}: remove padding, or give the tokenizer of this model"
        )


def require_tokens(card: ModelCard, documents: Documents) -> None:
    """Raise `UsageError` if all documents are empty."""
    if all(is_empty(card, document) for document in documents):
        raise UsageError(
            f"at least one text must have a token, but all {len(documents):,} are empty: give "
            "texts, or another --column"
        )


def is_empty(card: ModelCard, document: Document) -> bool:
    """Whether a document has no token of its own."""
    return document.tokens in ((), (card.bos,))


def require_recorded(documents: Documents, skip_first: int) -> None:
    """Raise `UsageError` unless a document has two recorded states, that is, a transition."""
    longest = int((documents.lengths - documents.start.clamp(min=skip_first)).max())
    if longest < 2:
        raise UsageError(
            "at least one text must have two tokens after the skipped positions, but the longest "
            f"of {len(documents):,} has {max(0, longest)}: give longer texts or a smaller "
            "skip_first"
        )


def require_width(states: Tensor, site: Site, card: ModelCard) -> None:
    """Raise `UsageError` unless a site gives one state per token, of the width of the blocks."""
    if states.ndim != 3 or states.shape[-1] != card.width:
        raise UsageError(
            f"{site} of {card.name} must give states [batch, time, {card.width}], got "
            f"{list(states.shape)}: choose other layers"
        )


def moderate(states: Float[Tensor, "*batch dim"]) -> Bool[Tensor, "*batch"]:
    """Whether states are finite, and small enough for sums of squares."""
    return states.abs().amax(-1) <= LARGEST  # NaN is not


def require_moderate_states(
    states: Float[Tensor, "path time dim"],
    site: Site,
    document: Int[Tensor, " path"],
    positions: Int[Tensor, "path time"],
) -> None:
    """Raise `BadNumbers` naming the first state with NaN, infinity or a very large number."""
    bad = ~moderate(states)
    if not bad.any():
        return
    row, column = bad.nonzero()[0].tolist()
    where = f"{site} of document {int(document[row])}"
    position = int(positions[row, column])
    state = states[row, column]
    if not state.isfinite().all():
        raise BadNumbers(
            f"states must be finite, but {where} is not at position {position}: use --dtype "
            "float32, or remove that text"
        )
    raise BadNumbers(
        f"states must be at most {LARGEST:g} in size, but {where} has "
        f"{float(state[state.abs().argmax()]):.3g} at position {position}: check the weights and "
        "the hooks of the model"
    )
