"""States after next tokens, with one key-value cache for all prefixes of a text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError, ran_out
from sdelens.model_protocols import BranchingModel
from sdelens.protocols import LanguageModel, Site
from sdelens.states.passes import BATCH_TOKENS, agree

States = dict[Site, Float[Tensor, "document position branch dim"]]
TOGETHER, ALONE = 64, 256
"""Next tokens of a text per forward pass, in a batch of texts and of a single text: enough to fill
it, few enough that the masked attention between them costs little."""


@dataclass(frozen=True, eq=False)
class PrefixCache:
    """Texts with their states and, if the model supports sharing it, their key-value cache."""

    model: LanguageModel
    tokens: Int[Tensor, "document time"]
    sites: Sequence[Site]
    states: dict[Site, Float[Tensor, "document time dim"]]
    past: Any = None

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: LanguageModel,
        tokens: Int[Tensor, "document time"],
        sites: Sequence[Site],
        *,
        cached: bool,
    ) -> "PrefixCache":
        """Run one forward pass over right-padded texts."""
        kept = cached and isinstance(model, BranchingModel)
        out = model.run(tokens, read=sites, keep=kept)
        states = {site: value.float().cpu() for site, value in out.reads.items()}
        return cls(model, tokens, sites, states, out.past if kept else None)

    @torch.no_grad()
    def feed(
        self, tokens: Int[Tensor, "document position branch"], at: Int[Tensor, " position"]
    ) -> States:
        """The states after each next token of the prefixes that end at positions `at`."""
        if self.past is None or not isinstance(self.model, BranchingModel):
            return self.recomputed(tokens, at)
        size = max(1, max(TOGETHER, ALONE // len(tokens)) // len(at))
        parts = [
            self.model.branch(few, past=self.past, after=at + 1, read=self.sites).reads
            for few in torch.split(tokens, size, dim=-1)
        ]
        return {s: torch.cat([p[s].float().cpu() for p in parts], dim=2) for s in self.sites}

    @torch.no_grad()
    def recomputed(
        self, tokens: Int[Tensor, "document position branch"], at: Int[Tensor, " position"]
    ) -> States:
        """The result of `feed`, from a full pass over every prefix with its next token."""
        documents, _, branches = tokens.shape
        found: dict[Site, list[Tensor]] = {site: [] for site in self.sites}
        for place, end in enumerate((at + 1).tolist()):
            prefix = self.tokens[:documents, :end]
            prefix = repeat(prefix, "document token -> (document branch) token", branch=branches)
            next_token = rearrange(tokens[:, place], "document branch -> (document branch) 1")
            rows = torch.cat([prefix, next_token], 1)
            parts = torch.split(rows, max(1, BATCH_TOKENS // rows.shape[1]))
            reads = [self.model.run(part, read=self.sites).reads for part in parts]
            for site in self.sites:
                last = torch.cat([read[site][:, -1].float().cpu() for read in reads])
                last = rearrange(
                    last, "(document branch) dim -> document branch dim", branch=branches
                )
                found[site].append(last)
        return {site: torch.stack(values, 1) for site, values in found.items()}

    def without(self) -> "PrefixCache":
        """These texts without the cache: every prefix is recomputed."""
        return replace(self, past=None)

    def agrees(
        self, tokens: Int[Tensor, "document position branch"], at: Int[Tensor, " position"]
    ) -> bool:
        """Whether cached states equal those of full passes, checked on a few tokens."""
        if self.past is None:
            return False
        some = torch.tensor(sorted({0, len(at) // 2, len(at) - 1}))
        tokens, at = tokens[:2, some, :2], at[some]
        try:
            quick = self.feed(tokens, at)
        except (TypeError, ValueError, NotImplementedError, RuntimeError, UsageError) as error:
            if ran_out(error):
                raise
            return False
        slow = self.recomputed(tokens, at)
        dtype = self.model.card.dtype
        return all(agree(quick[site], slow[site], dtype) for site in self.sites)
