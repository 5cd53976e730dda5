"""The held-out prefixes that the model is asked about, by class of token and by position."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.prefixes import Prefixes
from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.token_class import TokenClass, classify
from sdelens.protocols import LanguageModel
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.layer_axis import in_order

BINS = 4
"""Parts of the text, of equally many prefixes."""
LEAST = 20
"""Classes with fewer prefixes are left out of figures and estimates."""


@dataclass(frozen=True, eq=False)
class HeldOutPrefixes:
    """Prefixes of test documents, each in one cell: the class of its last token, and its bin."""

    model: LanguageModel
    prefixes: Prefixes
    cell: Int[Tensor, "document time"]
    edges: Int[Tensor, " edge"]
    """Positions at which bins begin, but for the first."""

    @classmethod
    def of(cls, study: Study, *, documents: int) -> "HeldOutPrefixes":
        """Of at most so many documents; an error where a run cannot be asked."""
        if study.model is None:
            raise UsageError("next tokens need the language model of the run, which is not here")
        view = in_order(study)[0]
        if view.axis == "layer":
            raise UsageError(
                "next tokens are a question of the token axis, but this run was fitted along the "
                "depth: fit with --axis token"
            )
        held = HeldOutDocuments.of(study.only(view), documents=documents)
        origin = study.views[view].fitted.origin
        start = study.documents.start[held.numbers].clamp(min=origin.skip_first if origin else 0)
        if held.documents is None:
            raise UsageError("next tokens need texts, but this run has none")
        first = torch.maximum(held.first.round().long(), start)
        unit = torch.unique(held.unit[held.numbers], return_inverse=True)[1]
        prefixes = Prefixes(held.documents, held.numbers, start, first, unit)
        edges = _edges(prefixes)
        kinds = _kinds(study.model, prefixes)
        position = torch.bucketize(torch.arange(kinds.shape[1]), edges, right=True)
        return cls(study.model, prefixes, kinds * BINS + position, edges)

    @property
    def cells(self) -> int:
        """Classes times bins."""
        return len(TokenClass) * BINS

    @property
    def groups(self) -> Float[Tensor, "group cell"]:
        """Everything, each class, each bin: which cells they hold."""
        kind, position = (part(torch.arange(self.cells)) for part in (_kind, _bin))
        one = torch.ones(1, self.cells, dtype=torch.bool)
        classes = kind == torch.arange(len(TokenClass))[:, None]
        bins = position == torch.arange(BINS)[:, None]
        return torch.cat([one, classes, bins]).double()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        ends = [0, *self.edges.tolist()]
        spans = [f"positions {a} to {b - 1}" for a, b in pairwise(ends)]
        last = f"positions from {ends[-1]} on"
        return ("all prefixes", *(kind.label for kind in TokenClass), *spans, last)

    def shown(self, count: Float[Tensor, " group"]) -> tuple[list[int], list[int]]:
        """Classes, and bins, that are common enough."""
        split = 1 + len(TokenClass)
        common = [bool(n >= LEAST) for n in count]
        return (
            [k for k in range(1, split) if common[k]],
            [k for k in range(split, split + BINS) if common[k]],
        )


def _kind(cell: Int[Tensor, " cell"]) -> Int[Tensor, " cell"]:
    return cell // BINS


def _bin(cell: Int[Tensor, " cell"]) -> Int[Tensor, " cell"]:
    return cell % BINS


def _edges(prefixes: Prefixes) -> Int[Tensor, " edge"]:
    """Quartiles of the positions at which prefixes end."""
    ends = zip(prefixes.first.tolist(), prefixes.documents.lengths.tolist(), strict=True)
    every = torch.cat([torch.arange(a, max(a, b - 1)) for a, b in ends])
    if not len(every):
        raise UsageError("no held-out prefix has a next token: fit to more or longer texts")
    shares = torch.arange(1, BINS) / BINS
    return every.double().quantile(shares.double()).ceil().long()


def _kinds(model: LanguageModel, prefixes: Prefixes) -> Int[Tensor, "document time"]:
    found = torch.full(prefixes.documents.padded().shape, int(TokenClass.OTHER))
    for number, document in enumerate(prefixes.documents):
        kinds = classify(model.decode(document.tokens))
        found[number, : len(kinds)] = torch.tensor([int(kind) for kind in kinds])
    return found
