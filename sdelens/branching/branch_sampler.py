"""Several next tokens after every prefix of some texts, a few texts at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.branching.next_token_law import NextTokenLaw, next_token_law
from sdelens.branching.prefix_cache import TOGETHER, PrefixCache, States
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.token_choice import DRAWS, TokenChoice
from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel, Site
from sdelens.settings import require_at_least
from sdelens.states.passes import smaller
from sdelens.states.requirements import require_readable
from sdelens.states.sampling import Sampler, uniforms

MEBIBYTE = 2**20


@dataclass(frozen=True, eq=False)
class BranchedStates:
    """States of a batch of texts, and of each prefix followed by several next tokens."""

    row: Int[Tensor, " document"]
    """Index of each text among the documents."""
    cache: PrefixCache
    at: Int[Tensor, " position"]
    """The last position of each prefix."""
    inside: Bool[Tensor, "document position"]
    """Whether the prefix is wanted; other entries are meaningless."""
    law: NextTokenLaw

    @property
    def cached(self) -> bool:
        """Whether prefixes share a key-value cache; otherwise each is recomputed."""
        return self.cache.past is not None

    @property
    def branches(self) -> int:
        """Number of next tokens after each prefix."""
        return self.law.chosen.tokens.shape[-1]

    @property
    def fed(self) -> int:
        """Number of next tokens after all wanted prefixes."""
        return int(self.inside.sum()) * self.branches

    def pieces(self) -> Iterator[tuple[slice, States]]:
        """Batches of positions that fill a forward pass, with the states after the next tokens."""
        size = max(1, TOGETHER // self.branches)
        for first in range(0, len(self.at), size):
            places = slice(first, first + size)
            tokens = self.law.chosen.tokens[:, places]
            yield places, self.cache.feed(tokens, self.at[places])


@dataclass(frozen=True)
class BranchSampler:
    """Samples next tokens after the prefixes of texts and computes the states that follow."""

    sampler: Sampler
    choice: TokenChoice
    every: int = 1
    """Use the prefixes that end at every n-th position."""
    memory: int = 256
    """MiB for the states, the cache and the next-token laws of one batch of texts."""
    cached: bool = True
    held: int = 0
    """Largest number of branches for which the caller keeps all following states of a text."""

    def __post_init__(self) -> None:
        require_at_least(self, every=1)
        if self.memory < 1:
            raise UsageError(f"memory must be at least 1 MiB, got {self.memory}")

    def __call__(
        self, model: LanguageModel, prefixes: Prefixes, sites: Sequence[Site], *, seed: int
    ) -> Iterator[BranchedStates]:
        """Yield batches of documents, longest first.

        Draws depend only on the seed, the document's number and the position. The last position
        of a text is not used as a prefix because its next token is unknown. The first batch
        compares cached states with those of full passes; if they differ, the cache is not used.
        """
        require_readable(model, prefixes.documents)
        padded, lengths = prefixes.documents.padded().clamp(min=0), prefixes.documents.lengths
        order = lengths.argsort(descending=True, stable=True)
        longest, size = int(lengths.max()), self._documents(model, int(lengths.max()), len(sites))
        at, done, cached, tested = self._positions(prefixes), 0, self.cached, False
        while done < len(order):
            rows = order[done : done + size]
            tokens = padded[rows, : int(lengths[rows[0]])]
            here = at[at < tokens.shape[1] - 1]
            here = here[prefixes.inside(rows, here).any(0)]  # not the positions of prompts
            if not len(here):
                done += len(rows)
                continue
            shape = (longest, self.choice.draws)
            uniform = uniforms(prefixes.numbers[rows], shape, seed, DRAWS)
            try:
                cache = PrefixCache.of(model, tokens, sites, cached=cached)
                law = self._law(model, tokens, here, uniform)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                size = smaller(error, len(rows), tokens.shape[1]) // tokens.shape[1]
                continue
            if not tested:
                cached, tested = cache.agrees(law.chosen.tokens, here), True
            cache = cache if cached else cache.without()
            yield BranchedStates(rows, cache, here, prefixes.inside(rows, here), law)
            done += len(rows)

    def _positions(self, prefixes: Prefixes) -> Int[Tensor, " position"]:
        """Last positions of the prefixes; raises `UsageError` if no text has a wanted one."""
        longest = int(prefixes.documents.lengths.max())
        at = torch.arange(self.every - 1, longest - 1, self.every)
        if not prefixes.inside(torch.arange(len(prefixes.documents)), at).any():
            raise UsageError(
                f"branching needs a prefix that ends at a multiple of {self.every} tokens and has "
                f"a next token, but the longest text has {longest} tokens: use a smaller "
                "`every`, or fit to longer texts"
            )
        return at

    def _law(
        self,
        model: LanguageModel,
        tokens: Int[Tensor, "document time"],
        at: Int[Tensor, " position"],
        uniform: Float[Tensor, "document longest draw"],
    ) -> NextTokenLaw:
        """Next-token laws; the draws at a position do not depend on the other positions."""
        return next_token_law(
            model,
            tokens,
            uniform[:, at],
            at,
            sampler=self.sampler,
            choice=self.choice,
            memory=self.memory * MEBIBYTE,
        )

    def _documents(self, model: LanguageModel, length: int, sites: int) -> int:
        """Number of texts per batch that fit into memory.

        Each text needs the keys and values of all blocks and, at every site, its states, a few
        predictions and the states after the next tokens.
        """
        card = model.card
        tried = self.choice.most_tried(card.vocabulary)
        states = 6 + (tried if tried <= self.held else 0)
        kept = length * (2 * card.blocks + states * sites) + 2 * max(TOGETHER, tried) * (sites + 8)
        return max(1, self.memory * MEBIBYTE // (4 * card.width * kept))
