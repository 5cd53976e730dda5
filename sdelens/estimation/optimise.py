"""Stochastic gradient descent with early stopping, for a stack of independent members."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.stacked import StackedPaths, in_order
from sdelens.paths.trajectories import Paths, Transitions
from sdelens.protocols import Epoch, Watch
from sdelens.seeds import derive

SLACK = 2.0
"""Differences in validation loss below this are not significant; in nats, summed over all
validation transitions."""
Losses = Callable[[Transitions], dict[str, Float[Tensor, " member"]]]
"""Mean losses of a batch by name, one per member.

``diffusion``, the negative exact log likelihood, is minimised.
"""


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters with a common factor of the learning rate, with or without weight decay."""

    parameters: Sequence[Float[Tensor, "member ..."]]
    rate: float = 1.0
    decays: bool = True


@dataclass(frozen=True)
class Schedule:
    """AdamW schedule with a short linear warmup and cosine decay to zero."""

    epochs: int = 10
    batch: int = 512
    rate: float = 4e-3
    weight_decay: float = 0.01
    warmup: float = 0.1
    least_steps: int = 2000
    """Minimum number of planned steps: `epochs` passes over a few batches would hardly move the
    weights. Small data sets are passed over more often, unless they stop."""
    patience: int = 5
    """Epochs without a better validation loss before a member stops training."""

    def planned(self, batches: int) -> int:
        """Number of epochs, given the number of batches per epoch."""
        return max(self.epochs, math.ceil(self.least_steps / max(1, batches)))

    def passes_without_gain(self, batches: int) -> int:
        """Number of epochs without a better validation loss after which a member stops.

        At least a twentieth of `least_steps`, so that noise does not end the training on a data
        set of one or two batches, whose epochs are as many steps.
        """
        return max(self.patience, math.ceil(self.least_steps / 20 / max(1, batches)))

    def scale(self, progress: float) -> float:
        """Factor of `rate` after the fraction `progress` of all steps."""
        if progress < self.warmup:
            return progress / self.warmup
        return 0.5 + 0.5 * math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))


def minimise(
    groups: Sequence[ParameterGroup],
    losses: Losses,
    train: Paths | StackedPaths,
    validation: Paths | StackedPaths,
    schedule: Schedule,
    *,
    seed: int | Sequence[int],
    watch: Watch,
) -> list[tuple[Epoch, ...]]:
    """Minimise the loss in place; parameters ``[member, ...]`` end at their best on validation.

    The initial values are candidates too, so training does not increase the validation loss of a
    member, apart from differences within its error. Members are independent: one that exceeds the
    patience keeps its best values and its history ends, while the others continue. Among epochs
    whose validation losses do not differ significantly (`SLACK`) the last is the best, because its
    weights have converged. A stack of data sets takes one seed per data set. `watch` receives the
    means over members. Raises `BadNumbers` if a loss is not finite, after restoring the best
    values so far.
    """
    parameters = [parameter for group in groups for parameter in group.parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    stepper = _stepper(groups, schedule)
    start, numbers = _evaluated(losses, validation, schedule.batch)
    best = _Best(parameters, start["diffusion"], SLACK / numbers)
    batches = sum(1 for _ in _shuffled(train, schedule.batch, seed, 0))
    epochs = schedule.planned(batches)
    patience = schedule.passes_without_gain(batches)
    histories: list[list[Epoch]] = [[] for _ in best.losses]
    for number in range(epochs):
        trained = _Running()
        for step, batch in enumerate(_shuffled(train, schedule.batch, seed, number)):
            scale = schedule.scale((number + (step + 1) / batches) / epochs)
            for group in stepper.param_groups:
                group["lr"] = group["own_rate"] * scale
            found = losses(batch)
            stepper.zero_grad(set_to_none=True)
            found["diffusion"].sum().backward()  # type: ignore[no-untyped-call]
            stepper.step()
            trained.add(found, batch.t.shape[-1])
        scores = evaluate(losses, validation, schedule.batch)
        if not (scores["diffusion"].isfinite().all() and trained.finite()):
            best.restore()
            raise BadNumbers(
                f"the fit diverged in epoch {number + 1}: its loss is no longer finite; set a "
                "lower learning rate (--set probe.rate=0.001), or --basis standard if the states "
                "are raw"
            )
        training = (best.waiting < patience).tolist()
        for member in compress(range(len(histories)), training):
            of_member = (_member(losses, member) for losses in (trained.means(), scores))
            histories[member].append(Epoch(number + 1, epochs, *of_member))
        watch(Epoch(number + 1, epochs, _member(trained.means()), _member(scores)))
        best.update(scores["diffusion"], patience)
        if (best.waiting >= patience).all():
            break
    best.restore()
    return [tuple(history) for history in histories]


def _shuffled(
    train: Paths | StackedPaths, size: int, seed: int | Sequence[int], epoch: int
) -> Iterator[Transitions]:
    """Shuffled batches of an epoch."""
    if isinstance(train, StackedPaths):
        seeds = [seed] * len(train.members) if isinstance(seed, int) else seed
        return train.transitions(size, [derive(own, "epoch", epoch) for own in seeds])
    if not isinstance(seed, int):
        raise TypeError("a sequence of seeds requires a stack of data sets, got one data set")
    return train.transitions(size, derive(seed, "epoch", epoch))


def _stepper(groups: Sequence[ParameterGroup], schedule: Schedule) -> torch.optim.AdamW:
    options = [
        {
            "params": list(group.parameters),
            "own_rate": group.rate * schedule.rate,
            "weight_decay": schedule.weight_decay if group.decays else 0.0,
        }
        for group in groups
    ]
    return torch.optim.AdamW(options, lr=schedule.rate, betas=(0.9, 0.99), fused=True)


def evaluate(losses: Losses, paths: Paths | StackedPaths, batch: int) -> dict[str, Tensor]:
    """Mean losses over all transitions by name, one per member."""
    return _evaluated(losses, paths, batch)[0]


@torch.no_grad()
def _evaluated(
    losses: Losses, paths: Paths | StackedPaths, batch: int
) -> tuple[dict[str, Tensor], int]:
    """Mean losses, and the number of transitions times dimensions of one member."""
    sums: dict[str, Tensor] = {}
    count = dim = 0
    size = 4 * batch
    parts = paths.in_order(size) if isinstance(paths, StackedPaths) else in_order(paths, size)
    for part in parts:
        steps, dim = part.t.shape[-1], part.x.shape[-1]
        for name, value in losses(part).items():
            sums[name] = sums.get(name, 0) + value.double() * steps
        count += steps
    if count == 0:
        raise UsageError(
            "validation documents must contain a transition: use more or longer texts"
        )
    return {name: value / count for name, value in sums.items()}, count * dim


class _Best:
    """The parameters of each member at its lowest validation loss, within the slack."""

    def __init__(
        self, parameters: Sequence[Tensor], losses: Float[Tensor, " member"], slack: float
    ) -> None:
        self.parameters = parameters
        self.values = [parameter.detach().clone() for parameter in parameters]
        self.losses, self.slack = losses, slack
        self.waiting = torch.zeros_like(losses)

    def update(self, losses: Float[Tensor, " member"], patience: int) -> None:
        better = (losses < self.losses + self.slack) & (self.waiting < patience)
        self.losses = torch.where(better, torch.minimum(losses, self.losses), self.losses)
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value[better] = parameter.detach()[better]
        self.waiting = torch.where(better, 0, self.waiting + 1)

    def restore(self) -> None:
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.requires_grad_(False).copy_(value)


class _Running:
    """Means over the batches of an epoch."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, losses: dict[str, Tensor], size: int) -> None:
        for name, value in losses.items():
            # stays on the device: reading a number here would synchronise at every step
            self.sums[name] = self.sums.get(name, 0) + value.detach().double() * size
        self.count += size

    def means(self) -> dict[str, Tensor]:
        return {name: total / self.count for name, total in self.sums.items()}

    def finite(self) -> bool:
        return all(bool(value.isfinite().all()) for value in self.sums.values())


def _member(losses: dict[str, Tensor], member: int | None = None) -> dict[str, float]:
    """Losses of one member, or means over members, with the total loss of the paper.

    The total is recorded but not minimised.
    """
    own = {k: float(v.mean() if member is None else v[member]) for k, v in losses.items()}
    return own | {"total": sum(own.values())}
