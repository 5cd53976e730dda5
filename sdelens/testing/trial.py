"""A probe with small data, and comparisons of its laws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from sdelens.laws.law import Law, Predictive
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Fit, Probe, ignore_epoch
from sdelens.seeds import generator
from sdelens.settings import described
from sdelens.testing.ornstein_uhlenbeck import OrnsteinUhlenbeck, ornstein_uhlenbeck
from sdelens.testing.promises import digest_of

SYSTEM = ornstein_uhlenbeck(2)


@dataclass(frozen=True, eq=False)
class Trial:
    """A probe with small data: two coordinates, four token ids, paths of different lengths."""

    probe: Probe
    train: Trajectories
    validation: Trajectories

    @classmethod
    def of(cls, probe: Probe) -> "Trial":
        """A trial whose training and validation data differ."""
        return cls(probe, _paths(60, seed=0), _paths(20, seed=1))

    @property
    def system(self) -> OrnsteinUhlenbeck:
        """The system of the data, shifted by one so that its mean is zero."""
        return SYSTEM

    def state(self) -> dict[str, str]:
        """Everything that a fit must not change."""
        data = {
            f"{side} {name}": tensor
            for side, block in (("train", self.train), ("validation", self.validation))
            for name, tensor in vars(block).items()
        }
        return {"the probe": str(described(self.probe)), "the data": digest_of(data)}

    def fit(self, **changes: Any) -> Fit:
        """A new fit, optionally of modified data."""
        trial = replace(self, **changes)
        return self.probe.fit(trial.train, trial.validation, seed=5, watch=ignore_epoch)

    @cached_property
    def law(self) -> Law:
        """The law of the fit."""
        return self.fit().law

    @cached_property
    def predicted(self) -> Predictive:
        """Predictions for the validation states."""
        return self.law.predict(self.validation)


def _paths(count: int, seed: int) -> Trajectories:
    block = Trajectories.from_states(SYSTEM.simulate(count, 40, seed) - 1, SYSTEM.dt)
    tokens = torch.randint(4, block.mask.shape, generator=generator(seed, "tokens"))
    lengths = 40 - torch.arange(count) % 7
    mask = torch.arange(40) < lengths[:, None]
    return replace(block, tokens=tokens, mask=mask, states=block.states * mask[..., None])


def own(law: Law) -> dict[str, Tensor]:
    """Copies of the tensors, because safetensors refuses shared memory."""
    return {name: tensor.clone().contiguous() for name, tensor in law.tensors().items()}


def close(one: Tensor, other: Tensor, block: Trajectories, said: str, slack: float = 0.0) -> None:
    """Whether values agree at all observed states of a block (`near`)."""
    near(one[block.mask], other[block.mask], said, slack)


def covariances(predicted: Predictive, block: Trajectories) -> Tensor:
    """A covariance matrix for each state of a block."""
    matrices = predicted.covariance().covariance()
    return matrices.expand(*block.mask.shape, *matrices.shape[-2:])


def alike(
    one: Predictive,
    trial: Trial,
    block: Trajectories,
    said: str,
    *,
    rows: Sequence[int] | None = None,
    slack: float = 0.0,
) -> None:
    """Whether means, covariances and log densities agree at all observed states of a block.

    Densities are compared one standard deviation from the predicted mean in every coordinate,
    where they are sensitive to errors of the mean.
    """
    other, whole = trial.predicted, trial.validation
    matrices = covariances(other, whole)
    spread = matrices.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    points = other.mean + spread
    some = slice(None) if rows is None else list(rows)
    close(one.mean, other.mean[some], block, f"means {said}", slack)
    close(covariances(one, block), matrices[some], block, f"covariances {said}", slack)
    density, known = one.log_density(points[some]), other.log_density(points)[some]
    weight = 1 + float((other.mean.abs() / spread.clamp(min=1e-6))[whole.mask].max())
    close(density, known, block, f"log densities {said}", slack * weight)


def near(one: Tensor, other: Tensor, said: str, slack: float = 0.0) -> None:
    """Equal up to float32 rounding, relative to the size of the values."""
    apart = float((one - other).abs().max())
    most = 1e-4 + (1e-4 + slack) * float(other.abs().max())
    assert apart <= most, f"{said}: {apart:.2g} apart"
