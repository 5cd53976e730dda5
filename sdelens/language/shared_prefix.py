"""The beginning of a text, computed once for many continuations."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.model_protocols import PaddedModel
from sdelens.protocols import Edit, LanguageModel, Pass, Site


@dataclass(frozen=True, eq=False)
class SharedPrefix:
    """The first tokens of a text with their key-value cache, if the model can repeat it.

    Other models read the tokens again with every continuation.
    """

    model: LanguageModel
    tokens: Int[Tensor, " time"]
    past: Any = None

    @classmethod
    @torch.no_grad()
    def of(cls, model: LanguageModel, tokens: Int[Tensor, " time"]) -> "SharedPrefix":
        """Run one forward pass over the tokens; there may be none."""
        if not len(tokens) or not isinstance(model, PaddedModel):
            return cls(model, tokens)
        # with logits, only those of the last position are computed
        return cls(model, tokens, model.run(tokens[None], keep=True, logits=True).past)

    def run(
        self,
        tokens: Int[Tensor, "row time"],
        *,
        read: Sequence[Site] = (),
        edit: Mapping[Site, Edit] | None = None,
        logits: bool = False,
    ) -> Pass:
        """A forward pass over continuations of equal length; logits are those of the last token.

        Values that are read or edited are those of the continuation alone.
        """
        rows, time = tokens.shape
        if self.past is not None and isinstance(self.model, PaddedModel):
            past = cache_rows(self.model, self.past, torch.zeros(rows, dtype=torch.long))
            return self.model.run(
                tokens, read=read, edit=edit, past=past, keep=logits, logits=logits
            )
        whole = torch.cat([self.tokens.expand(rows, -1), tokens], 1)
        edits = {site: on_last(change, time) for site, change in (edit or {}).items()}
        out = self.model.run(whole, read=read, edit=edits, keep=logits, logits=logits)
        reads = {site: value[:, -time:] for site, value in out.reads.items()}
        return Pass(reads, None if out.logits is None else out.logits[:, -1:])


def cache_rows(model: PaddedModel, past: Any, rows: Int[Tensor, " row"]) -> Any:
    """A copy of a cache with these rows of it, which may repeat; a pass adds to its cache."""
    return model.select_rows(copy.deepcopy(past), rows)


def on_last(change: Edit, count: int) -> Edit:
    """An edit of the last `count` positions."""

    def edit(value: Tensor) -> Tensor:
        before = value.shape[1] - count
        return torch.cat([value[:, :before], change(value[:, before:])], dim=1)

    return edit
