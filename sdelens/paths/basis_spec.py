"""Specification of the coordinates in which a law is fitted. Does not import torch."""

import re
from dataclasses import dataclass

from sdelens.errors import UsageError


@dataclass(frozen=True)
class BasisSpec:
    """Name of a basis, such as ``pca:32``, and whether it is centred per position."""

    name: str = "standard"
    center: str = "all"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"raw|standard|(pca|whiten):[1-9]\d*", self.name):
            raise UsageError(
                f"basis must be raw, standard, pca:K or whiten:K, got {self.name!r}; try pca:32"
            )
        if self.center not in ("all", "position"):
            raise UsageError(f"center must be all or position, got {self.center!r}")

    @property
    def kind(self) -> str:
        """The name without the number of components."""
        return self.name.partition(":")[0]

    @property
    def rank(self) -> int | None:
        """The number of components in the name."""
        return int(self.name.partition(":")[2]) if ":" in self.name else None
