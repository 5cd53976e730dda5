"""Paths that are loaded on first use."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from sdelens.paths.trajectories import Paths, Trajectories, Transitions


@dataclass(frozen=True, eq=False)
class DeferredPaths:
    """Paths whose states are read, or captured again, on first use."""

    read: Callable[[], Paths]
    documents: tuple[int, ...] | None = None

    def __iter__(self) -> Iterator[Trajectories]:
        return iter(self._now)

    def select(self, documents: Sequence[int]) -> "DeferredPaths":
        """Select the paths of some documents."""
        return replace(self, documents=tuple(documents))

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """Yield every transition once, shuffled."""
        return self._now.transitions(size, seed)

    @property
    def _now(self) -> Paths:
        paths = self.read()
        return paths if self.documents is None else paths.select(self.documents)
