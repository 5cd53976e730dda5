"""Long simulations of a fitted kernel: whether paths stay near the data."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.exponents import FAR
from sdelens.dynamics.region import Region
from sdelens.dynamics.step_map import StepMap
from sdelens.seeds import generator


@dataclass(frozen=True, eq=False)
class LongRun:
    """Distances from the data's mean, in radii of the data, by step; NaN after an escape."""

    size: Float[Tensor, "time path"]
    escape: Int[Tensor, " path"]
    """The step at which a path exceeded `FAR` radii; -1 if it never did."""

    @classmethod
    def of(
        cls,
        step: StepMap,
        starts: Float[Tensor, "path dim"],
        region: Region,
        *,
        steps: int,
        seed: int,
    ) -> "LongRun":
        """Simulate paths; escaped paths are stopped."""
        random = generator(seed, "long run")
        channels, x = step.channels(starts), starts
        escape = torch.full((len(starts),), -1)
        sizes = [region.size(x)]
        for number in range(1, steps + 1):
            noise = torch.randn(len(x), channels, generator=random, dtype=x.dtype)
            x = torch.where((escape < 0)[:, None], step.draw(x, noise), x)
            size = region.size(x)
            escape = torch.where((escape < 0) & ~(size < FAR), number, escape)
            sizes.append(torch.where((escape < 0), size, torch.nan))
            if bool((escape >= 0).all()):
                break
        return cls(torch.stack(sizes), escape)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.size) - 1

    @property
    def escaped(self) -> int:
        """Number of escaped paths."""
        return int((self.escape >= 0).sum())

    @property
    def furthest(self) -> float:
        """Largest distance of a path that did not escape; NaN if all escaped."""
        kept = self.size[:, self.escape < 0]
        return float(kept.max()) if kept.numel() else float("nan")

    def later(self) -> Float[Tensor, " path"]:
        """Mean distance over the second half of each path that did not escape."""
        return self.size[len(self.size) // 2 :, self.escape < 0].mean(0)
