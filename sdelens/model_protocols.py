"""What a language model may do besides `sdelens.protocols.LanguageModel`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Bool, Int
from torch import Tensor

from sdelens.origin import ModelCard
from sdelens.protocols import LanguageModel, Pass, Site


@dataclass(frozen=True, eq=False)
class ForwardRecord:
    """One forward pass that a user ran: what went in, and the states that it passed through."""

    tokens: Int[Tensor, "batch time"]
    real: Bool[Tensor, "batch time"]
    """Which of them are no padding."""
    reads: Mapping[Site, Tensor]
    before: int = 0
    """Columns that the key-value cache held already."""
    went_in: Any = None
    """The cache that the pass was given, and the one that came out."""
    came_out: Any = None


@runtime_checkable
class Listener(Protocol):
    """A `LanguageModel` that can also be listened to while its user runs it."""

    @property
    def card(self) -> ModelCard:
        """What a run must know of the model."""

    @property
    def pad(self) -> int | None:
        """What rows that have ended are filled up with."""

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        """Call `heard` after each pass; `left_out` says why where a pass cannot be told."""


@runtime_checkable
class BranchingModel(LanguageModel, Protocol):
    """A model that tries many next tokens after the prefixes of cached texts in one pass."""

    def branch(
        self,
        tokens: Int[Tensor, "batch position branch"],
        *,
        past: Any,
        after: Int[Tensor, " position"],
        read: Sequence[Site],
    ) -> Pass:
        """What is read of token ``[i, j, k]`` after the first ``after[j]`` tokens of text i.

        `past` is what a pass over the texts kept; it is shared by all of their prefixes and stays
        as it is. A token sees its prefix and itself, none of the others. Values read are ``[batch,
        position, branch, …]``. Raises `UsageError` where the cache cannot be shared so.
        """
