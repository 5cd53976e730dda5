"""The held-out documents that an analyzer measures on, with their tokens."""

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
    numbers: Int[Tensor, " row"]
    """The number of each document in the run, ascending."""
    first: Float[Tensor, " row"]
    """The time of the first state of each document."""
    unit: Int[Tensor, " document"]
    """The group of each document of the run, numbered from 0 without gaps."""
    documents: Documents | None
    """Their tokens, in the order of `numbers`; None for data that are not text."""

    @classmethod
    def of(cls, study: Study, *, documents: int) -> "HeldOutDocuments":
        """At most `documents` test documents; raises `UsageError` if there is none."""
        _, viewed = study.single
        start_times = (
            (int(number), float(times[:-1][moves][0]))
            for block in viewed.test
            for number, moves, times in zip(
                block.document, block.steps, block.times.expand(block.mask.shape), strict=True
            )
            if moves.any()
        )
        rows = sorted(dict(islice(start_times, documents)).items())
        if not rows:
            raise UsageError(
                "a held-out document of at least two states is needed, but there is none: fit to "
                "more or longer texts"
            )
        numbers = torch.tensor([number for number, _ in rows])
        return cls(
            viewed.test.select(numbers.tolist()),
            numbers,
            torch.tensor([first for _, first in rows]),
            group_numbers(study.documents.group),
            _tokens(study, numbers.tolist()),
        )

    def row(self, document: Int[Tensor, " row"]) -> Int[Tensor, " row"]:
        """The rows of documents of the run among these."""
        return torch.searchsorted(self.numbers, document.cpu())


def _tokens(study: Study, numbers: list[int]) -> Documents | None:
    if study.model is None:
        return None
    documents = list(study.documents)
    return Documents.of(documents[number] for number in numbers)


def group_numbers(groups: Int[Tensor, " document"]) -> Int[Tensor, " document"]:
    """The group of each document, numbered from 0 without gaps."""
    numbers: Tensor = torch.unique(groups, return_inverse=True)[1]
    return numbers
