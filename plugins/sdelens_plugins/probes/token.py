"""The mean next state given the current token, ignoring the state; not an SDE."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    times_of,
)
from sdelens.estimation.selection import selected
from sdelens.estimation.timed import noise_around
from sdelens.fitting.baselines import Effort
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import Kernel, group_of
from sdelens.laws.timed_noise import restored_noise
from sdelens.paths.trajectories import Paths
from sdelens.protocols import Fit, Watch


@dataclass(frozen=True)
class TokenProbe:
    """``E[X'|v,t] = c_t + e_v``: the mean next state after token v at position t.

    Token effects are shrunk towards zero by the number of pseudo-observations that predicts
    validation documents best. A fit on states must beat this probe to be more than a lookup table.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete",)
    looks_back: ClassVar[bool] = False

    density: Literal["discrete"] = "discrete"
    noise: str = "diagonal"

    def __post_init__(self) -> None:
        NoiseSpec.parse(self.noise)  # raises for an invalid noise family before any work

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec.parse(self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        del seed, watch  # closed form
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        mean = selected(moments, held, Terms(position=True, token=True))
        noise = noise_around(NoiseSpec.parse(self.noise), mean, moments, train)
        return Fit(Kernel(mean.to(torch.float32), noise))

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Kernel:
        del config  # the tensors contain everything
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        return Kernel(AdditiveMean(**mean), restored_noise(NoiseSpec.parse(self.noise), noise))
