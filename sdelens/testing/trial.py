"""A probe and small data, and what it takes to compare two of its laws."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdelens.laws.law import Law, Predictive
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Fit, Probe, unwatched
from sdelens.seeds import generator
from sdelens.testing.ornstein_uhlenbeck import ornstein_uhlenbeck


@dataclass(frozen=True, eq=False)
class Trial:
    """A probe, and small data: two coordinates, words of four tokens, paths of unequal length."""

    probe: Probe
    train: Trajectories
    validation: Trajectories

    @classmethod
    def of(cls, probe: Probe) -> "Trial":
        """With data that differ between training and validation."""
        return cls(probe, _paths(60, seed=0), _paths(20, seed=1))

    def fit(self, **changes: Any) -> Fit:
        """A fit from the start, of data that are changed if asked."""
        trial = replace(self, **changes)
        return self.probe.fit(trial.train, trial.validation, seed=5, watch=unwatched)

    @cached_property
    def law(self) -> Law:
        """The law of a fit."""
        return self.fit().law

    @cached_property
    def predicted(self) -> Predictive:
        """For the states of validation."""
        return self.law.predict(self.validation)


def _paths(count: int, seed: int) -> Trajectories:
    system = ornstein_uhlenbeck(2)
    block = Trajectories.from_states(system.simulate(count, 40, seed) - 1, system.dt)
    tokens = torch.randint(4, block.mask.shape, generator=generator(seed, "tokens"))
    lengths = 40 - torch.arange(count) % 7
    mask = torch.arange(40) < lengths[:, None]
    return replace(block, tokens=tokens, mask=mask, states=block.states * mask[..., None])


def own(law: Law) -> dict[str, Tensor]:
    """Each tensor by itself: parts of a law may share them, which safetensors refuses."""
    return {name: tensor.clone().contiguous() for name, tensor in law.tensors().items()}


def random_state() -> tuple[bytes, bytes, int]:
    """Of torch and numpy; Python's own is drawn from by beartype's checks."""
    numbers: Any = np.random.get_state()
    return torch.random.get_rng_state().numpy().tobytes(), numbers[1].tobytes(), numbers[2]


def close(one: Tensor, other: Tensor, block: Trajectories, said: str, slack: float = 0.0) -> None:
    """`near` at all observed states of a block."""
    near(one[block.mask], other[block.mask], said, slack)


def near(one: Tensor, other: Tensor, said: str, slack: float = 0.0) -> None:
    """Equal up to the order of additions in float32, and a share of the size of the numbers."""
    apart = float((one - other).abs().max())
    most = 1e-4 + (1e-4 + slack) * float(other.abs().max())
    assert apart <= most, f"{said}: {apart:.2g} apart"
