"""Texts whose every prefix is gone on with by several next tokens, a few texts at a time."""

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
from sdelens.states.capturing import require_context
from sdelens.states.passes import smaller
from sdelens.states.sampling import Sampler, uniforms

MEBIBYTE = 2**20


@dataclass(frozen=True, eq=False)
class BranchedStates:
    """A few texts: their states, and by pieces those after several next tokens."""

    row: Int[Tensor, " document"]
    """Which of the documents."""
    feeder: PrefixCache
    at: Int[Tensor, " position"]
    """The last position of each prefix."""
    inside: Bool[Tensor, "document position"]
    """Whether the prefix is one that was asked for; where not, the rest means nothing."""
    law: NextTokenLaw

    @property
    def cached(self) -> bool:
        """Whether prefixes share a cache, else every one is read anew."""
        return self.feeder.past is not None

    @property
    def branches(self) -> int:
        """How many next tokens are tried after each prefix."""
        return self.law.chosen.tokens.shape[-1]

    @property
    def fed(self) -> int:
        """How many next tokens are tried after prefixes that were asked for."""
        return int(self.inside.sum()) * self.branches

    def pieces(self) -> Iterator[tuple[slice, States]]:
        """As many positions at a time as fill a pass, with the states after their next tokens."""
        size = max(1, TOGETHER // self.branches)
        for first in range(0, len(self.at), size):
            places = slice(first, first + size)
            tokens = self.law.chosen.tokens[:, places]
            yield places, self.feeder.feed(tokens, self.at[places])


@dataclass(frozen=True)
class BranchSampler:
    """How it is done: what is drawn, where, and within what memory."""

    sampler: Sampler
    choice: TokenChoice
    every: int = 1
    """Of each text the prefixes that end at every so manieth position."""
    memory: int = 256
    """MiB for the states, the cache and the laws of the texts at hand."""
    cached: bool = True
    held: int = 0
    """Who asks holds the states after all next tokens of a text, if no more are tried."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise UsageError(f"every must be at least 1, got {self.every}")
        if self.memory < 1:
            raise UsageError(f"memory must be at least 1 MiB, got {self.memory}")

    def __call__(
        self, model: LanguageModel, prefixes: Prefixes, sites: Sequence[Site], *, seed: int
    ) -> Iterator[BranchedStates]:
        """All documents, the longest first.

        Draws depend on the seed, the document's number and the position alone. The last position
        of a text is no prefix: what came after it is not known. Whether states from the cache are
        those of whole passes is tried on the first texts; where they are not, none is used.
        """
        require_context(model, prefixes.documents)
        padded, lengths = prefixes.documents.padded().clamp(min=0), prefixes.documents.lengths
        order = lengths.argsort(descending=True, stable=True)
        longest, size = int(lengths.max()), self._documents(model, int(lengths.max()), len(sites))
        at, done, cached = self._positions(prefixes), 0, self.cached
        while done < len(order):
            rows = order[done : done + size]
            tokens = padded[rows, : int(lengths[rows[0]])]
            here = at[at < tokens.shape[1] - 1]
            if not len(here):
                return
            shape = (longest, self.choice.draws)
            uniform = uniforms(prefixes.numbers[rows], shape, seed, DRAWS)
            try:
                feeder = PrefixCache.of(model, tokens, sites, cached=cached)
                law = self._law(model, tokens, here, uniform)
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                size = smaller(error, len(rows), tokens.shape[1]) // tokens.shape[1]
                continue
            if done == 0:
                cached = feeder.shares(law.chosen.tokens, here)
            feeder = feeder if cached else feeder.without()
            yield BranchedStates(rows, feeder, here, prefixes.inside(rows, here), law)
            done += len(rows)

    def _positions(self, prefixes: Prefixes) -> Int[Tensor, " position"]:
        """Where prefixes end; an error where no text has one that is asked for."""
        longest = int(prefixes.documents.lengths.max())
        at = torch.arange(self.every - 1, longest - 1, self.every)
        if not prefixes.inside(torch.arange(len(prefixes.documents)), at).any():
            raise UsageError(
                f"branching needs a prefix at a multiple of {self.every} tokens (every) that has "
                f"a next token, but no text has one (the longest has {longest} tokens): "
                "give a smaller every, or fit to longer texts"
            )
        return at

    def _law(
        self,
        model: LanguageModel,
        tokens: Int[Tensor, "document time"],
        at: Int[Tensor, " position"],
        uniform: Float[Tensor, "document longest draw"],
    ) -> NextTokenLaw:
        """Draws of a position are the same whichever positions are asked for."""
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
        """How many texts at once.

        Of each: keys and values of all blocks; of all sites the states, what a few predictors say
        of them, and the states after next tokens.
        """
        card = model.card
        tried = self.choice.most_tried(card.vocabulary)
        states = 6 + (tried if tried <= self.held else 0)
        kept = length * (2 * card.blocks + states * sites) + 2 * max(TOGETHER, tried) * (sites + 8)
        return max(1, self.memory * MEBIBYTE // (4 * card.width * kept))
