"""Base class of the adapters: tokenizer, and hooks on the modules of the sites."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from sdelens.model_protocols import ForwardRecord
from sdelens.protocols import Site
from sdelens_plugins.models.pass_hooks import PassHooks
from sdelens_plugins.models.words import Words


class Adapter(ABC):
    """A model with its tokenizer, whose sites are modules."""

    words: Words

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        return self.words.encode(text)

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        return self.words.decode(ids)

    @property
    def has_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return self.words.has_template

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, answer: bool) -> list[int]:
        """Token ids of a conversation in the chat template of the tokenizer."""
        return self.words.encode_chat(messages, answer=answer)

    @abstractmethod
    def hooks(self) -> tuple[str, ...]:
        """The user's hooks that may change the computation, as ``function at module``."""

    def hooked(self) -> bool:
        """Whether there are such hooks."""
        return bool(self.hooks())

    @property
    def pad(self) -> int | None:
        """The token that fills finished rows."""
        return self.words.special("pad")

    def ear(
        self,
        reader: nn.Module,
        modules: Mapping[Site, nn.Module],
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
        *,
        filling: int | None = None,
    ) -> PassHooks:
        """Hooks on the modules of some sites, for passes whose token ids are given to `reader`."""
        return PassHooks(reader, {site: modules[site] for site in sites}, heard, left_out, filling)
