"""Held-out scores of several laws on the same transitions, with errors over documents."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.estimation.complement import Complement
from sdelens.estimation.ratio import Ratio
from sdelens.fitting.fitted import log_density
from sdelens.laws.law import Law
from sdelens.paths.basis import Basis
from sdelens.paths.trajectories import Paths, Trajectories

SAME = 1e-5
"""Scores of a document that differ by less are equal; nats per dimension and transition."""


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over test transitions for each law and group of documents."""

    names: tuple[str, ...]
    dim: int
    nats: Float[Tensor, "law group"]
    """Negative log density in the coordinates of the basis, including those outside it."""
    squares: Float[Tensor, "law group"]
    """Squared distance of the predicted mean from the next state, within the basis."""
    motion: Float[Tensor, " group"]
    """Squared length of the increments, the squares of a random walk."""
    count: Float[Tensor, " group"]

    @property
    def transitions(self) -> int:
        """Number of scored transitions."""
        return int(self.count.sum())

    @property
    def groups(self) -> int:
        """Number of groups of documents, the effective sample size."""
        return int((self.count > 0).sum())

    def nll(self, name: str) -> Ratio:
        """Negative log likelihood in nats per dimension and transition."""
        return Ratio.of(self.nats[self.names.index(name)] / self.dim, self.count)

    def gain(self, name: str, over: str) -> Ratio:
        """Paired gain of one law over another in nats per dimension."""
        mine, other = self.names.index(name), self.names.index(over)
        return Ratio.of((self.nats[other] - self.nats[mine]) / self.dim, self.count)

    def same(self, name: str, other: str) -> bool:
        """Whether two laws score alike on every group, up to rounding errors."""
        mine, theirs = self.names.index(name), self.names.index(other)
        apart = (self.nats[mine] - self.nats[theirs]).abs() / self.dim
        return bool((apart <= SAME * self.count).all())

    def increment_r2(self, name: str) -> Ratio:
        """Share of the increments' squared length explained by the mean."""
        return 1.0 - Ratio.of(self.squares[self.names.index(name)], self.motion)


Tallies = Mapping[str, Tally]
"""Tallies of all test transitions ("every"), of those without a sink at either end ("clean"), and,
if known, of those whose prefix occurs in no training document ("new")."""


@torch.no_grad()
def tally(
    laws: Mapping[str, Law],
    basis: Basis,
    test: Paths,
    groups: Mapping[int, int],
    *,
    new: Paths | None = None,
    sink: float = torch.inf,
    complement: Complement | None = None,
) -> Tallies:
    """Score all laws on all test transitions, and on parts of them.

    `groups` is the group of each document; states with norm above `sink` are sinks; `new` are the
    same blocks with a mask of the observations after a new prefix. The `complement` is the law of
    the coordinates outside the basis, shared by all laws.
    """
    numbers = {group: i for i, group in enumerate(sorted(set(groups.values())))}
    parts = ("every", "clean") if new is None else ("every", "clean", "new")
    shape = (len(parts), len(laws), len(numbers))
    nats, squares = torch.zeros(shape, dtype=torch.double), torch.zeros(shape, dtype=torch.double)
    motion, count = (torch.zeros(len(parts), len(numbers), dtype=torch.double) for _ in range(2))
    for raw, later in zip(test, test if new is None else new, strict=True):
        group = torch.tensor([numbers[groups[d]] for d in raw.document.tolist()])
        block = next(iter(basis.view(raw)))
        increments = block.states.diff(dim=1).square().sum(-1)
        rest = complement.log_density(basis, raw) if complement else torch.zeros_like(increments)
        steps = (raw.steps, _without_sinks(raw, sink), later.steps)[: len(parts)]
        for part, chosen in enumerate(steps):
            count[part].index_add_(0, group, chosen.cpu().double().sum(1))
            motion[part].index_add_(0, group, _sums(increments, chosen))
        for number, law in enumerate(laws.values()):
            density = log_density(law, block) + rest
            distance = (block.states[:, 1:] - law.predict(block).mean[:, :-1]).square().sum(-1)
            for part, chosen in enumerate(steps):
                nats[part, number].index_add_(0, group, -_sums(density, chosen))
                squares[part, number].index_add_(0, group, _sums(distance, chosen))
    dim, sums = basis.latent + basis.left, zip(nats, squares, motion, count, strict=True)
    return {
        part: Tally(tuple(laws), dim, *of_part) for part, of_part in zip(parts, sums, strict=True)
    }


def _sums(
    values: Float[Tensor, "path step"], steps: Bool[Tensor, "path step"]
) -> Float[Tensor, " path"]:
    return values.masked_fill(~steps, 0).double().sum(1).cpu()


def _without_sinks(raw: Trajectories, sink: float) -> Bool[Tensor, "path step"]:
    quiet: Tensor = raw.states.norm(dim=-1, dtype=torch.float64) <= sink
    return raw.steps & quiet[:, :-1] & quiet[:, 1:]


def sink_norm(train: Paths) -> float:
    """Norm above which a state is a sink: Tukey's outer fence Q3 + 3 (Q3 - Q1) on training."""
    blocks = ((block.states.norm(dim=-1, dtype=torch.float64), block.mask) for block in train)
    norms = torch.cat([norm[seen].cpu() for norm, seen in blocks])
    ordered = norms.sort().values
    low, high = float(ordered[len(norms) // 4]), float(ordered[3 * len(norms) // 4])
    return high + 3 * (high - low)


def survivors(lengths: Int[Tensor, " document"]) -> list[int]:
    """Number of documents that reach each position."""
    longest = int(lengths.max())
    return [int(n) for n in (lengths[:, None] > torch.arange(longest)).sum(0)]
