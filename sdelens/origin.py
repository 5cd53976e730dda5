"""Where states come from: the model and everything that shaped what was recorded of it."""

import secrets
from dataclasses import dataclass, replace

LIVE = "with its user's hooks"
"""How the revision begins of a model that does what its weights alone do not tell."""


@dataclass(frozen=True)
class ModelCard:
    """What a run must know of a language model."""

    name: str
    revision: str
    fingerprint: str
    """sha256 over the weights' names, shapes, types and bytes."""
    weights: str
    """``raw``; or as TransformerLens rewrote them: ``folded``, which leaves states as they are, or
    ``centred`` too, which takes the mean of its coordinates off each state."""
    dtype: str
    blocks: int
    width: int
    context: int
    vocabulary: int
    bos: int | None
    eos: int | None
    hook: str | None = None
    """The module whose output is the one block, where the user named it."""


@dataclass(frozen=True)
class Origin:
    """What shaped recorded states; equal origins mean equal states."""

    model: ModelCard
    hook: str
    skip_first: int
    """Positions left out, counted from the start of the context."""
    bos_prepended: bool
    tokens: str
    """sha256 over the token ids and the offsets of all documents."""

    @property
    def repeatable(self) -> bool:
        """Whether the states can be captured again, or were shaped by what a user did."""
        return not self.model.revision.startswith(LIVE)


def live(card: ModelCard) -> ModelCard:
    """The card with a revision that nothing else has: hooks are code, without a fingerprint."""
    return replace(card, revision=f"{LIVE} {secrets.token_hex(8)}")
