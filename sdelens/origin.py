"""The origin of states: the model and everything else that determines them."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

LIVE = "with its user's hooks"
"""Prefix of the revision of a model whose behaviour is not determined by its weights."""


@dataclass(frozen=True)
class ModelCard:
    """Name, sizes and identity of a language model."""

    name: str
    revision: str
    fingerprint: str
    """sha256 of the weights' names, shapes, dtypes and bytes."""
    weights: str
    """``raw``, or as processed by TransformerLens: ``folded``, which does not change states, or
    ``centred``, which subtracts the mean over coordinates from each state."""
    dtype: str
    blocks: int
    width: int
    context: int
    vocabulary: int
    bos: int | None
    eos: int | None
    quantisation: str = ""
    """The types to which the weights were rounded, such as Q4_K_M or int8; else empty."""
    hook: str | None = None
    """The module named by the user whose output is the only block."""
    layout: str = ""
    """The library whose names and shapes the weights have, if not those in which they are stored.
    The same weights have another fingerprint there."""
    hooks: Sequence[str] = ()
    """The user's hooks at capture, as ``function at module``."""
    reference: Sequence[Sequence[float]] = ()
    """The states on the reference text, by block; empty if unknown."""
    turn_ends: Sequence[int] = ()
    """Tokens besides EOS that end a text, such as the end of a turn in a chat template."""

    cache_width: int = 0
    """Coordinates of the keys of one token in one block; 0 if unknown."""

    def __post_init__(self) -> None:
        # lists in JSON
        object.__setattr__(self, "turn_ends", tuple(self.turn_ends))
        object.__setattr__(self, "hooks", tuple(self.hooks))
        object.__setattr__(self, "reference", tuple(map(tuple, self.reference)))

    @property
    def weight_words(self) -> str:
        """How the weights are stored and computed, for a message."""
        stored = f", {self.quantisation} weights" if self.quantisation else ""
        return f"{self.weights}, {self.dtype}{stored}"

    @property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end a text: EOS, if there is one, and ends of turns."""
        eos = () if self.eos is None else (self.eos,)
        return (*eos, *(token for token in self.turn_ends if token != self.eos))

    @property
    def hook_words(self) -> str:
        """The user's hooks for a message."""
        return ", ".join(self.hooks) or "none"


DESCRIBED = ("hooks", "reference", "layout", "quantisation", "turn_ends", "cache_width")
"""Fields of a card that do not determine states."""


@dataclass(frozen=True)
class Origin:
    """Everything that determines recorded states; equal origins imply equal states."""

    model: ModelCard
    hook: str
    skip_first: int
    """Number of skipped positions at the start of the context."""
    bos_prepended: bool
    tokens: str
    """sha256 of the token ids and offsets of all documents."""

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that determine the states, without those that only describe the model."""
        known = asdict(self)
        for described in DESCRIBED:
            del known["model"][described]
        return known

    @property
    def repeatable(self) -> bool:
        """Whether the states can be captured again, that is, do not depend on user actions."""
        return not self.model.revision.startswith(LIVE)


def live(card: ModelCard, hooks: Sequence[str] = ()) -> ModelCard:
    """The card with a unique revision, because hooks are code without a fingerprint."""
    return replace(card, revision=f"{LIVE} {secrets.token_hex(8)}", hooks=tuple(hooks))
