"""Stochastic gradient descent with early stopping, for a stack of independent members at once."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.protocols import Epoch, Watch
from sdelens.seeds import derive
from sdelens.trajectories import Paths, Transitions

Losses = Callable[[Transitions], dict[str, Float[Tensor, " member"]]]
"""Mean losses of a batch by name, one for each member; ``total`` is minimised."""


@dataclass(frozen=True)
class Schedule:
    """AdamW with one cycle of the learning rate: a short rise, then a cosine to zero."""

    epochs: int = 20
    batch: int = 512
    rate: float = 2e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    patience: int = 5
    """Epochs without a better validation loss after which training stops."""

    def scale(self, progress: float) -> float:
        """The share of `rate` after this share of all steps."""
        if progress < self.warmup:
            return progress / self.warmup
        return 0.5 + 0.5 * math.cos(math.pi * (progress - self.warmup) / (1 - self.warmup))


def minimise(
    parameters: Sequence[Tensor],
    losses: Losses,
    train: Paths,
    validation: Paths,
    schedule: Schedule,
    *,
    seed: int,
    watch: Watch,
) -> tuple[Epoch, ...]:
    """Leave in `parameters` (``[member, ...]``) each member's best values on validation.

    Raises `BadNumbers` where a loss is not finite; the best values so far are kept.
    """
    for parameter in parameters:
        parameter.requires_grad_(True)
    stepper = torch.optim.AdamW(
        parameters, lr=schedule.rate, weight_decay=schedule.weight_decay, betas=(0.9, 0.99)
    )
    steps = sum(1 for _ in train.transitions(schedule.batch, seed))
    best = _Best(parameters)
    history: list[Epoch] = []
    for number in range(schedule.epochs):
        batches = train.transitions(schedule.batch, derive(seed, "epoch", number))
        trained = _Running()
        for step, batch in enumerate(batches):
            rate = schedule.rate * schedule.scale((number + step / steps) / schedule.epochs)
            for group in stepper.param_groups:
                group["lr"] = rate
            found = losses(batch)
            stepper.zero_grad(set_to_none=True)
            found["total"].sum().backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            stepper.step()
            trained.add(found, len(batch.t))
        scores = evaluate(losses, validation, schedule.batch)
        if not (scores["total"].isfinite().all() and trained.finite()):
            best.restore()
            raise BadNumbers(
                f"the fit diverged in epoch {number + 1}: its loss is no longer finite; set a lower "
                "learning rate (--set probe.rate=…), or --basis standard if the states are raw"
            )
        history.append(Epoch(number + 1, trained.means(), _firsts(scores)))
        watch(history[-1])
        best.update(scores["total"])
        if best.waiting >= schedule.patience:
            break
    best.restore()
    return tuple(history)


@torch.no_grad()
def evaluate(losses: Losses, paths: Paths, batch: int) -> dict[str, Tensor]:
    """Mean losses over all transitions, by name, one for each member."""
    sums: dict[str, Tensor] = {}
    count = 0
    for part in _in_order(paths, batch):
        for name, value in losses(part).items():
            sums[name] = sums.get(name, 0) + value.double() * len(part.t)
        count += len(part.t)
    return {name: value / count for name, value in sums.items()}


def _in_order(paths: Paths, size: int) -> Iterator[Transitions]:
    """All transitions in batches, block by block, in their own order."""
    for block in paths:
        flat = block.flat()
        fields = (flat.t, flat.x, flat.token, flat.following)
        for parts in zip(*(field.split(4 * size) for field in fields), strict=True):
            yield Transitions(*parts)


class _Best:
    """Each member's parameters where its validation loss was lowest."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = parameters
        self.values = [parameter.detach().clone() for parameter in parameters]
        self.losses: Tensor | None = None
        self.waiting = 0

    def update(self, losses: Float[Tensor, " member"]) -> None:
        if self.losses is None:
            self.losses = torch.full_like(losses, torch.inf)
        better = losses < self.losses
        self.losses = torch.where(better, losses, self.losses)
        for value, parameter in zip(self.values, self.parameters, strict=True):
            value[better] = parameter.detach()[better]
        self.waiting = 0 if better.any() else self.waiting + 1

    def restore(self) -> None:
        for value, parameter in zip(self.values, self.parameters, strict=True):
            parameter.requires_grad_(False).copy_(value)


class _Running:
    """Means over the batches of an epoch, of the first member."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = 0

    def add(self, losses: dict[str, Tensor], size: int) -> None:
        for name, value in losses.items():
            # kept on the device: reading a number here would wait for it at every step
            self.sums[name] = self.sums.get(name, 0) + value.detach()[0].double() * size
        self.count += size

    def means(self) -> dict[str, float]:
        return {name: float(value) / self.count for name, value in self.sums.items()}

    def finite(self) -> bool:
        return all(bool(value.isfinite()) for value in self.sums.values())


def _firsts(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value[0]) for name, value in losses.items()}
