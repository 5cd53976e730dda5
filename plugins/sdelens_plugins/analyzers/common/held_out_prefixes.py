"""Prefixes of held-out documents, by class of the last token and by position."""

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
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments, group_numbers
from sdelens_plugins.analyzers.common.layer_axis import views_by_depth

BINS = 4
"""Bins of positions, with about equally many prefixes each."""
MIN_PREFIXES = 20
"""Groups with fewer prefixes are left out of figures and estimates."""


@dataclass(frozen=True, eq=False)
class HeldOutPrefixes:
    """Prefixes of test documents, each in one cell: a class of its last token and a bin."""

    model: LanguageModel
    prefixes: Prefixes
    cell: Int[Tensor, "document time"]
    edges: Int[Tensor, " edge"]
    """The first position of each bin but the first."""

    @classmethod
    def of(cls, study: Study, *, documents: int) -> "HeldOutPrefixes":
        """Prefixes of at most `documents` documents.

        Raises `UsageError` without the language model, without texts, or along the depth.
        """
        if study.model is None:
            raise UsageError("next tokens need the language model of the run, which is not loaded")
        view = views_by_depth(study)[0]
        if view.axis == "layer":
            raise UsageError(
                "next tokens need the token axis, but this run was fitted along the depth: fit "
                "with --axis token"
            )
        held = HeldOutDocuments.of(study.only(view), documents=documents)
        origin = study.views[view].fitted.origin
        start = study.documents.start[held.numbers].clamp(min=origin.skip_first if origin else 0)
        if held.documents is None:
            raise UsageError("next tokens need texts, but this run has none")
        unit = group_numbers(held.unit[held.numbers])
        prefixes = Prefixes(held.documents, held.numbers, start, unit)
        edges = _edges(prefixes)
        classes = _token_classes(study.model, prefixes)
        bins = torch.bucketize(torch.arange(classes.shape[1]), edges, right=True)
        return cls(study.model, prefixes, classes * BINS + bins, edges)

    @property
    def cells(self) -> int:
        """The number of cells: classes times bins."""
        return len(TokenClass) * BINS

    @property
    def groups(self) -> Float[Tensor, "group cell"]:
        """The cells of each group: all prefixes, each class, each bin (1 inside, 0 outside)."""
        cell = torch.arange(self.cells)
        everything = torch.ones(1, self.cells, dtype=torch.bool)
        classes = cell // BINS == torch.arange(len(TokenClass))[:, None]
        bins = cell % BINS == torch.arange(BINS)[:, None]
        return torch.cat([everything, classes, bins]).double()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the groups."""
        starts = [0, *self.edges.tolist()]
        bins = [f"positions {a} to {b - 1}" for a, b in pairwise(starts)]
        last = f"positions from {starts[-1]} on"
        return ("all prefixes", *(kind.label for kind in TokenClass), *bins, last)

    def common_groups(self, count: Float[Tensor, " group"]) -> tuple[list[int], list[int]]:
        """Classes, and bins, with at least `MIN_PREFIXES` prefixes."""
        first_bin = 1 + len(TokenClass)
        common = [bool(n >= MIN_PREFIXES) for n in count]
        return (
            [k for k in range(1, first_bin) if common[k]],
            [k for k in range(first_bin, first_bin + BINS) if common[k]],
        )


def _edges(prefixes: Prefixes) -> Int[Tensor, " edge"]:
    """Quartiles of the positions at which prefixes end."""
    ends = zip(prefixes.recorded.tolist(), prefixes.documents.lengths.tolist(), strict=True)
    positions = torch.cat([torch.arange(a, max(a, b - 1)) for a, b in ends])
    if not len(positions):
        raise UsageError("no held-out prefix has a next token: fit to more or longer texts")
    shares = torch.arange(1, BINS) / BINS
    return positions.double().quantile(shares.double()).ceil().long()


def _token_classes(model: LanguageModel, prefixes: Prefixes) -> Int[Tensor, "document time"]:
    classes = torch.full(prefixes.documents.padded().shape, int(TokenClass.OTHER))
    for number, document in enumerate(prefixes.documents):
        kinds = classify(model.decode(document.tokens))
        classes[number, : len(kinds)] = torch.tensor([int(kind) for kind in kinds])
    return classes
