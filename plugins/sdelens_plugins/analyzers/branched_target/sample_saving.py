r"""What learning from branches saves: as many transitions that occurred would do as well.

A mean fitted to n transitions has an excess error in proportion to the variance of its targets
about it: :math:`S+R`, with S the sampler's, :math:`E\,\mathrm{tr}\,S^*`, and R that of m\* which
the law does not reach; with B branches :math:`S/B+R`. One branched transition is worth
:math:`(S+R)/(S/B+R)` plain ones, and :math:`1+S/R` at most.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.fitting.fitted import Fitted
from sdelens.laws.law import Law
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories
from sdelens.protocols import Probe, ignore_epoch
from sdelens.seeds import derive, generator

SIZES = (8, 4, 2, 1)
"""Plain fits to an eighth of the training documents, a quarter, a half, all."""
BRANCHED = (8, 4)
"""Those sizes at which a fit also learns from branches."""
REPEATS = 4
"""Disjoint sets of documents of each size at most: what one owes to its luck."""


@dataclass(frozen=True)
class TrainingSet:
    """What one fit learns from."""

    target: str
    part: int
    """One part in so many of the training documents."""
    repeat: int

    def __str__(self) -> str:
        return f"{self.target} 1/{self.part} #{self.repeat}"

    def of(self, documents: Sequence[int]) -> list[int]:
        """Its documents: every so manieth."""
        return list(documents[self.repeat :: self.part])


def training_sets() -> list[TrainingSet]:
    """All fits that are compared."""
    return [
        TrainingSet(target, part, repeat)
        for target, parts in (("plain", SIZES), ("branched", BRANCHED))
        for part in parts
        for repeat in range(min(part, REPEATS))
    ]


def asked(documents: Sequence[int]) -> list[int]:
    """The documents whose prefixes are branched."""
    wanted = {d for one in training_sets() if one.target == "branched" for d in one.of(documents)}
    return sorted(wanted)


def learned(
    fitted: Fitted,
    probe: Probe,
    train: Paths,
    validation: Paths,
    steps: Paths,
    documents: Sequence[int],
    *,
    apart: int,
    seed: int,
) -> dict[TrainingSet, Law]:
    """A law of each lesson, in the coordinates of one fit and stopped by the same documents.

    Plain ones learn from the steps after the same prefixes, those that end at every `apart`-th
    position.
    """
    held = fitted.encoded(validation)
    plain = MappedPaths(train, lambda block: single_steps(block, apart))
    sources = {"plain": fitted.encoded(plain), "branched": fitted.encoded(steps)}
    return {
        one: probe.fit(
            sources[one.target].select(one.of(documents)),
            held,
            seed=derive(seed, str(one)),
            watch=ignore_epoch,
        ).law
        for one in training_sets()
    }


def single_steps(block: Trajectories, apart: int) -> Trajectories:
    """The steps of a block from every so manieth position, as paths of two states."""
    times = block.times.expand(block.mask.shape)
    here = block.steps & ((times[:, :-1].long() + 1) % apart == 0)
    path, time = here.nonzero(as_tuple=True)
    both = torch.stack([time, time + 1], 1)
    row = path[:, None]
    return Trajectories(
        states=block.states[row, both],
        mask=block.mask[row, both],
        times=times[row, both],
        tokens=block.tokens[row, both],
        document=block.document[path],
    )


@dataclass(frozen=True, eq=False)
class Curves:
    """Held-out losses by size of the training set, and what branches save."""

    plain: Float[Tensor, "*replicate size"]
    branched: Float[Tensor, "*replicate few"]

    @classmethod
    def of(
        cls,
        losses: Mapping[TrainingSet, Float[Tensor, "*replicate"]],
        weights: Mapping[int, Float[Tensor, "*replicate set"]] | None = None,
    ) -> "Curves":
        """Averages over the sets of each size, or with a weight for each set."""

        def mean(target: str, part: int) -> Tensor:
            own = [loss for k, loss in losses.items() if (k.target, k.part) == (target, part)]
            each = torch.stack(own, -1)
            return each.mean(-1) if weights is None else (each * weights[part]).sum(-1)

        return cls(
            torch.stack([mean("plain", part) for part in SIZES], -1),
            torch.stack([mean("branched", part) for part in BRANCHED], -1),
        )

    def saving(self) -> Float[Tensor, "*replicate few"]:
        r"""How many times as many plain transitions give each branched loss.

        The loss is taken to be linear in 1/n between neighbouring sizes, as an excess error is,
        and beyond the first and the last two as it is between them; where it does not fall at all
        with more documents, the saving is not known (NaN), and where no plain fit would do it is
        infinite.
        """
        each = torch.tensor([1.0 * part for part in SIZES], dtype=self.plain.dtype)
        known = []
        for number, part in enumerate(BRANCHED):
            needed = _crossed(self.plain, each, self.branched[..., number])
            known.append(part / needed)
        return torch.stack(known, -1)


def _crossed(
    loss: Float[Tensor, "*replicate size"],
    inverse: Float[Tensor, " size"],
    wanted: Float[Tensor, "*replicate"],
) -> Float[Tensor, "*replicate"]:
    """The 1/n at which the curve has the wanted loss; 0 where it never has."""
    above = (loss[..., 1:-1] > wanted[..., None]).sum(-1)
    low, high = (loss.gather(-1, (above + k)[..., None])[..., 0] for k in (1, 0))
    at, before = inverse[above + 1], inverse[above]
    share = (wanted - low) / (high - low).where(high > low, torch.nan)
    found: Tensor = (at + share * (before - at)).clamp(min=0)
    return found


def expected(sampler: float, rest: float, branches: int | float) -> float:
    """By theory, for a loss whose excess is the error of a mean; the ceiling is infinite branches.

    >>> round(expected(0.34, 0.155, math.inf), 1)
    3.2
    """
    left = rest + sampler / branches
    return (sampler + rest) / left if left > 0 else math.inf


def savings(
    losses: Mapping[TrainingSet, Float[Tensor, " unit"]],
    count: Float[Tensor, " unit"],
    bootstrap: Bootstrap,
    *,
    seed: int,
) -> tuple[Curves, Interval]:
    """Curves, and the saving at each size; its error is over held-out and training documents.

    Held-out documents are drawn again, and so are the disjoint sets of training documents of each
    size, where there are several: a plain fit and a branched one of the same set together.
    """
    total = {one: sums.sum() / count.sum() for one, sums in losses.items()}
    each = bootstrap.weights @ count
    drawn = {one: (bootstrap.weights @ sums) / each for one, sums in losses.items()}
    random = generator(seed, "sets")
    weights = {part: redrawn(min(part, REPEATS), len(bootstrap.weights), random) for part in SIZES}
    curves = Curves.of(total)
    return curves, bootstrap.interval(curves.saving(), Curves.of(drawn, weights).saving().mT)


def redrawn(sets: int, replicates: int, random: torch.Generator) -> Float[Tensor, "replicate set"]:
    """How much each of several sets counts in each replicate; they vary as n - 1 draws of n do.

    A bootstrap of so few is too narrow by a factor of sqrt(1 - 1 / n), which is undone here.
    """
    counts = torch.zeros(replicates, sets, dtype=torch.float64)
    drawn = torch.randint(sets, (replicates, sets), generator=random)
    counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    wider = math.sqrt(sets / (sets - 1)) if sets > 1 else 1.0
    return 1 / sets + (counts / sets - 1 / sets) * wider
