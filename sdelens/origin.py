"""Where states come from: the model and everything that shaped what was recorded of it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ModelCard:
    """What a run must know of a language model."""

    name: str
    revision: str
    fingerprint: str
    """sha256 over the weights' names, shapes, types and bytes."""
    weights: Literal["raw", "folded"]
    dtype: str
    blocks: int
    width: int
    context: int
    vocabulary: int
    bos: int | None
    eos: int | None


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
