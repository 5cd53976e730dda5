"""The held-out documents that a question is asked of: which, of what unit, with what tokens."""

from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Paths


@dataclass(frozen=True, eq=False)
class HeldOutDocuments:
    """The first test documents that have a transition."""

    paths: Paths
    numbers: Int[Tensor, " chosen"]
    """Their numbers in the run, ascending."""
    first: Float[Tensor, " chosen"]
    """The time of the first state of each that is scored."""
    unit: Int[Tensor, " document"]
    """For each document of the run the group that it is drawn with, numbered without gaps."""
    documents: Documents | None
    """Their tokens, in the order of `numbers`; None for data that are no text."""

    @classmethod
    def of(cls, study: Study, *, documents: int) -> "HeldOutDocuments":
        """At most so many documents; an error where there is none."""
        _, viewed = study.single
        found = [
            (int(number), float(times[seen][0]))
            for block in viewed.test
            for number, seen, times in zip(
                block.document, block.mask, block.times.expand(block.mask.shape), strict=True
            )
            if int(seen.sum()) > 1
        ]
        chosen = sorted(dict(islice(found, documents)).items())
        if not chosen:
            raise UsageError(
                "a held-out document of at least two states is needed, but there is none: fit to "
                "more or longer texts"
            )
        numbers = torch.tensor([number for number, _ in chosen])
        return cls(
            viewed.test.select(numbers.tolist()),
            numbers,
            torch.tensor([first for _, first in chosen]),
            torch.unique(study.documents.group, return_inverse=True)[1],
            _texts(study, numbers.tolist()),
        )

    def row(self, document: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """Where documents of the run stand among those chosen."""
        return torch.searchsorted(self.numbers, document.cpu())


def _texts(study: Study, numbers: list[int]) -> Documents | None:
    if study.model is None:
        return None
    every = list(study.documents)
    return Documents.of(every[number] for number in numbers)


def numbered(groups: Int[Tensor, " document"]) -> Int[Tensor, " document"]:
    """The group of each document, numbered from 0 without gaps."""
    number: Tensor = torch.unique(groups, return_inverse=True)[1]
    return number
