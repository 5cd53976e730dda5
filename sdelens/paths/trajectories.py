"""Observed paths, in one block in memory or streamed block by block."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.seeds import generator

NO_TOKEN = -1


@dataclass(frozen=True, eq=False)
class Transitions:
    """A batch of transitions in any order: from state `x` at time `t` to `following`."""

    t: Float[Tensor, "*batch"]
    x: Float[Tensor, "*batch dim"]
    token: Int[Tensor, "*batch"]
    following: Float[Tensor, "*batch dim"]


@dataclass(frozen=True, eq=False)
class Trajectories:
    """A block of paths on a common grid of times, not observed where the mask is false.

    A path may begin late, end early and have gaps.
    """

    states: Float[Tensor, "path time dim"]
    mask: Bool[Tensor, "path time"]
    times: Float[Tensor, "#path time"]
    tokens: Int[Tensor, "path time"]
    document: Int[Tensor, " path"]

    @classmethod
    def from_states(cls, states: Float[Tensor, "path time dim"], dt: float) -> "Trajectories":
        """Paths of equal length, observed every `dt` from time 0; each path is a document."""
        paths, length, _ = states.shape
        device = states.device
        return cls(
            states=states,
            mask=torch.ones(paths, length, dtype=torch.bool, device=device),
            times=torch.arange(length, dtype=states.dtype, device=device)[None] * dt,
            tokens=torch.full((paths, length), NO_TOKEN, device=device),
            document=torch.arange(paths, device=device),
        )

    def __repr__(self) -> str:
        paths, times, dim = self.states.shape
        return f"<block of {paths:,} paths, {times:,} times, {dim:,} coordinates>"

    def __iter__(self) -> Iterator["Trajectories"]:
        yield self

    @property
    def steps(self) -> Bool[Tensor, "path step"]:
        """Whether both ends of each transition are observed."""
        return self.observed(0, 1)

    def observed(self, *offsets: int) -> Bool[Tensor, "path start"]:
        """Whether the states at all these offsets from each start are observed.

        A lag must name every state that it uses, since a path may have gaps between its ends.
        """
        starts = max(0, self.mask.shape[1] - max(offsets))
        found = [self.mask[:, offset : offset + starts] for offset in offsets]
        return torch.stack(found).all(0)

    def select(self, documents: Sequence[int]) -> "Trajectories":
        """The paths of the given documents, in the order of the block."""
        chosen = torch.tensor(documents, dtype=torch.long, device=self.document.device)
        return self.rows(torch.isin(self.document, chosen).nonzero()[:, 0])

    def rows(self, index: Int[Tensor, " chosen"]) -> "Trajectories":
        """The paths with the given indices."""
        return Trajectories(
            states=self.states[index],
            mask=self.mask[index],
            times=self.times if len(self.times) == 1 else self.times[index],
            tokens=self.tokens[index],
            document=self.document[index],
        )

    def to(self, device: torch.device | str) -> "Trajectories":
        """Copy the block to a device."""
        fields = ("states", "mask", "times", "tokens", "document")
        return replace(self, **{name: getattr(self, name).to(device) for name in fields})

    def flat(self) -> Transitions:
        """All observed transitions, path by path."""
        steps = self.steps
        times = self.times.expand(self.mask.shape)
        return Transitions(
            t=times[:, :-1][steps],
            x=self.states[:, :-1][steps],
            token=self.tokens[:, :-1][steps],
            following=self.states[:, 1:][steps],
        )

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """All observed transitions, shuffled, in batches of `size`; the last may be smaller."""
        return shuffled([self], size, seed)


@runtime_checkable
class Paths(Protocol):
    """Blocks of paths in a fixed order, which can be iterated repeatedly.

    A `Trajectories` is a single block.
    """

    def __iter__(self) -> Iterator[Trajectories]: ...

    def select(self, documents: Sequence[int]) -> "Paths":
        """The paths of the given documents."""

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """All transitions, shuffled, in batches of `size`."""


@dataclass(frozen=True, eq=False)
class MappedPaths:
    """Paths with a function applied to each block, for example to encode or trim it."""

    paths: Paths
    function: Callable[[Trajectories], Trajectories]

    def __iter__(self) -> Iterator[Trajectories]:
        return map(self.function, self.paths)

    def select(self, documents: Sequence[int]) -> "MappedPaths":
        """The paths of the given documents, with the same function."""
        return MappedPaths(self.paths.select(documents), self.function)

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """All transitions, shuffled within pools of blocks, in batches of `size`."""
        return shuffled(self, size, seed)


def shuffled(
    blocks: Iterable[Trajectories], size: int, seed: int, pool: int = 4
) -> Iterator[Transitions]:
    """Batches of transitions shuffled within pools of `pool` blocks.

    Transitions that do not fill a batch are moved to the next pool, so only the last batch may be
    smaller.
    """
    random = generator(seed, "shuffle")
    held: list[Transitions] = []
    for count, block in enumerate(blocks, start=1):
        held.append(require_finite(block).flat())
        if count % pool == 0:
            held = [(yield from _batches(held, size, random, last=False))]
    if held:
        yield from _batches(held, size, random, last=True)


def _batches(
    held: list[Transitions], size: int, random: torch.Generator, *, last: bool
) -> Generator[Transitions, None, Transitions]:
    """Shuffle transitions and yield full batches; return the remaining transitions."""
    joined = _joined(held)
    count = len(joined.t)
    order = torch.randperm(count, generator=random).to(joined.t.device)
    end = count if last else count - count % size
    for start in range(0, end, size):
        yield _taken(joined, order[start : min(start + size, end)])
    return _taken(joined, order[end:])


def _taken(all_: Transitions, index: Int[Tensor, " chosen"]) -> Transitions:
    return Transitions(all_.t[index], all_.x[index], all_.token[index], all_.following[index])


def _joined(parts: list[Transitions]) -> Transitions:
    if len(parts) == 1:
        return parts[0]
    return Transitions(
        torch.cat([part.t for part in parts]),
        torch.cat([part.x for part in parts]),
        torch.cat([part.token for part in parts]),
        torch.cat([part.following for part in parts]),
    )


def require_finite(block: Trajectories) -> Trajectories:
    """Return the block; raises `BadNumbers` if an observed state contains NaN or infinity."""
    bad = ~block.states.isfinite().all(-1) & block.mask
    if bad.any():
        path, time = bad.nonzero()[0].tolist()
        state, times = block.states[path, time], block.times.expand(block.mask.shape)
        coordinate = int((~state.isfinite()).nonzero()[0])
        raise BadNumbers(
            f"states must be finite: document {int(block.document[path])} contains NaN or "
            f"infinity at its observation {time} (time {float(times[path, time]):g}, coordinate "
            f"{coordinate}; {int(bad.sum())} such states in this block): remove such documents, "
            "or capture in float32"
        )
    return block


def step_of(times: Float[Tensor, "#path time"]) -> float:
    """Step between observation times in the unit of the data; raises `BadNumbers` if it varies."""
    count = times.shape[1] - 1
    if times.numel() == 0 or count < 1:
        raise BadNumbers(
            f"a path needs at least two observations, got times of shape {tuple(times.shape)}"
        )
    exact = times.double()
    step = float(exact[0, -1] - exact[0, 0]) / count
    slack = 1e-3 * step + 2 * torch.finfo(times.dtype).eps * float(exact.abs().max())
    if not step > 0 or (exact.diff(dim=-1) - step).abs().max() > slack:
        first = ", ".join(f"{t:.6g}" for t in times[0, :5].tolist())
        raise BadNumbers(
            f"observation times must increase in equal steps, got {first}, …: use paths "
            "observed at constant intervals, or interpolate them"
        )
    return float(f"{step:.7g}")  # a float32 time has seven digits


def dt_of(paths: Iterable[Trajectories]) -> float:
    """Step between the observations of all paths."""
    return step_of(next(block for block in paths if block.steps.any()).times)


def require_transitions(paths: Iterable[Trajectories], side: str) -> None:
    """Raise `UsageError` if no path has two consecutive observations."""
    if not any(bool(block.steps.any()) for block in paths):
        raise UsageError(
            f"{side} documents contain no usable transition: use more or longer texts"
        )


def began(paths: Iterable[Trajectories]) -> dict[int, int]:
    """Time of the first observed state by document; documents without one are left out."""
    found: dict[int, int] = {}
    for block in paths:
        times = block.times.expand(block.mask.shape)
        seen = block.mask.any(1)
        first = times.masked_fill(~block.mask, torch.inf).amin(1)[seen].long()
        found |= zip(block.document[seen].tolist(), first.tolist(), strict=True)
    return found
