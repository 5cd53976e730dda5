"""A sample of observed transitions, spread evenly over the documents of a view."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.paths.trajectories import Paths, require_finite


@dataclass(frozen=True, eq=False)
class Sample:
    """States with their times and documents, and the next states."""

    t: Float[Tensor, " state"]
    x: Float[Tensor, "state dim"]
    following: Float[Tensor, "state dim"]
    document: Int[Tensor, " state"]
    """Documents numbered from 0 without gaps."""

    @classmethod
    def of(cls, paths: Paths, most: int = 4096) -> "Sample":
        """All transitions, or every k-th so that there are at most `most`."""
        total = sum(int(block.steps.sum()) for block in paths)
        if total == 0:
            raise UsageError(
                "documents with a transition are needed here, but there are none: fit to more or "
                "longer texts"
            )
        every, seen = -(-total // most), 0
        parts: list[tuple[Tensor, ...]] = []
        for block in paths:
            steps, flat = block.steps, require_finite(block).flat()
            documents = block.document[:, None].expand(steps.shape)[steps]
            chosen = torch.arange(-seen % every, len(flat.t), every, device=flat.t.device)
            rows = (flat.t, flat.x, flat.following, documents)
            parts.append(tuple(each[chosen].cpu() for each in rows))
            seen += len(flat.t)
        t, x, following, documents = (torch.cat(each) for each in zip(*parts, strict=True))
        number: Tensor = torch.unique(documents, return_inverse=True)[1]
        return cls(t, x, following, number)

    @property
    def documents(self) -> int:
        """Number of documents, the sample size."""
        return int(self.document.max()) + 1

    def middle(self) -> float:
        """The median time."""
        return float(self.t.median())

    def last(self) -> float:
        """The last start time of an observed transition."""
        return float(self.t.max())
