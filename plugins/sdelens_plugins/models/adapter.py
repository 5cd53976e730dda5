"""What all adapters have in common: words, and what is heard at the modules of the sites."""

from collections.abc import Callable, Mapping, Sequence

from torch import nn

from sdelens.model_protocols import ForwardRecord
from sdelens.protocols import Site
from sdelens_plugins.models.pass_hooks import PassHooks
from sdelens_plugins.models.words import Words


class Adapter:
    """A model with its words, whose sites are modules."""

    words: Words

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        return self.words.encode(text)

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself."""
        return self.words.decode(ids)

    @property
    def pad(self) -> int | None:
        """What rows that have ended are filled up with."""
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
        """Hooks at some of the sites' modules, for passes whose ids are given to `reader`."""
        return PassHooks(reader, {site: modules[site] for site in sites}, heard, left_out, filling)
