"""Optional capabilities of language models and adapters, in addition to `sdelens.protocols`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sdelens.origin import ModelCard
from sdelens.protocols import LanguageModel, ModelAdapter, Pass, Site


@runtime_checkable
class ModelLoader(ModelAdapter, Protocol):
    """An adapter that also loads models by name."""

    @classmethod
    def load(cls, name: str, **settings: Any) -> LanguageModel:
        """Load a model from a folder or from the hub."""


@dataclass(frozen=True)
class ModelPreview:
    """What is known of a model before its weights are read."""

    card: ModelCard
    """The card from the model's configuration, with an empty fingerprint."""
    device: torch.device
    has_template: bool = False
    """Whether the tokenizer has a chat template."""


@runtime_checkable
class ModelPreviewer(ModelLoader, Protocol):
    """A loader that describes a model without reading its weights."""

    @classmethod
    def preview(cls, name: str, **settings: Any) -> ModelPreview:
        """The sizes of a model in a folder or on the hub; settings are those of `load`."""


@dataclass(frozen=True)
class OpenModel:
    """A row of a catalogue of models."""

    name: str
    parameters: int
    licence: str
    origin: str
    available: bool
    """Whether the weights are on this machine."""


@runtime_checkable
class ModelCatalogue(ModelLoader, Protocol):
    """A loader that lists open models and fetches them."""

    @classmethod
    def catalogue(cls) -> Sequence[OpenModel]:
        """The models that are known by name, in the order in which they are shown."""

    @classmethod
    def fetch(cls, name: str, **settings: Any) -> Path:
        """The folder of a model that `load` reads, downloaded and converted if necessary."""


@dataclass(frozen=True, eq=False)
class ForwardRecord:
    """A forward pass run by the user: its inputs, and the states at the sites."""

    tokens: Int[Tensor, "batch time"]
    real: Bool[Tensor, "batch time"]
    """Whether each token is not padding."""
    reads: Mapping[Site, Tensor]
    before: int = 0
    """Number of columns in the key-value cache before the pass."""
    went_in: Any = None
    """The key-value caches before and after the pass."""
    came_out: Any = None


@runtime_checkable
class Listener(Protocol):
    """A `LanguageModel` whose forward passes can be recorded while the user runs it."""

    @property
    def card(self) -> ModelCard:
        """Name, sizes and fingerprint of the model."""

    @property
    def pad(self) -> int | None:
        """The token that fills finished rows."""

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        """Call `heard` with each pass, and `left_out` with the reason if it cannot be recorded."""


@runtime_checkable
class NamedHooks(Protocol):
    """A `LanguageModel` that names its user's hooks."""

    def hooks(self) -> Sequence[str]:
        """The user's hooks that may change the computation, as ``function at module``."""


@dataclass(frozen=True, eq=False)
class Inspection:
    """What a library says of one forward pass, apart from the states that `run` reads."""

    tokens: Int[Tensor, "batch time"]
    calls: Mapping[Site, int]
    """How often each block was called."""
    hidden: Sequence[Tensor] | None
    """The library's own hidden states: before the first block and after each; None if unknown."""
    loading: str
    """How the weights were read, in words; empty if they were not read by the adapter."""


@runtime_checkable
class InspectableModel(LanguageModel, Protocol):
    """A model whose library can be compared with what `run` reads."""

    def inspect(self, tokens: Int[Tensor, "batch time"]) -> Inspection:
        """Run one pass over right-padded ids and report what the library says of it."""

    def contexts(self) -> Mapping[str, int]:
        """The maximum lengths of a text in the model's configuration, by name."""


@runtime_checkable
class ChatModel(LanguageModel, Protocol):
    """A model whose tokenizer may have a chat template."""

    @property
    def has_template(self) -> bool:
        """Whether the tokenizer has a chat template."""

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, answer: bool) -> list[int]:
        """Token ids of a conversation in the chat template, with its special tokens.

        A message has a ``role`` (``system``, ``user`` or ``assistant``) and a ``content``. With
        `answer`, the beginning of the assistant's next message follows. Raises `UsageError` for a
        conversation that the template does not accept.
        """


@runtime_checkable
class PaddedModel(LanguageModel, Protocol):
    """A model that continues texts of unequal length in one batch."""

    def run_padded(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Int[Tensor, " batch"],
        past: Any = None,
    ) -> Pass:
        """`run` with `keep` and `logits` for rows that begin with `padding` tokens of padding.

        With `past`, its rows do. Padding is not attended, and positions count from the first token
        after it.
        """

    def select_rows(self, past: Any, rows: Int[Tensor, " kept"]) -> Any:
        """The key-value cache of some rows; `past` must not be used afterwards."""


@runtime_checkable
class BranchingModel(LanguageModel, Protocol):
    """A model that evaluates many next tokens after prefixes of cached texts in one pass."""

    def branch(
        self,
        tokens: Int[Tensor, "batch position branch"],
        *,
        past: Any,
        after: Int[Tensor, " position"],
        read: Sequence[Site],
    ) -> Pass:
        """Read the sites at token ``[i, j, k]`` after the first ``after[j]`` tokens of text i.

        `past` is the cache of a pass over the texts; all prefixes share it, and it is not
        modified. Each token attends to its prefix and itself only. Values are ``[batch, position,
        branch, …]``. Raises `UsageError` if the cache cannot be shared.
        """
