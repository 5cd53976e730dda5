"""Evidence about a fit, computed from its training, validation and test paths."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.effects import Effect
from sdelens.evidence.embedding import embeddable_share
from sdelens.evidence.gaussianity import mixture_gain
from sdelens.evidence.heterogeneity import heterogeneity
from sdelens.evidence.jumps import INTERVALS, jump_effect, tails
from sdelens.evidence.lagged import lagged
from sdelens.evidence.lagged_moments import COORDINATES, Axes, lagged_moments
from sdelens.evidence.nested import PAST, STATE, TIME, Nested, Sides, nested
from sdelens.evidence.orientation import orientation
from sdelens.evidence.process_class import (
    FRACTION,
    MEMORY,
    MISSED,
    PART,
    SHOWN,
    UNNOTICED,
    Evidence,
)
from sdelens.evidence.tail_index import tail_index
from sdelens.evidence.verdict import LABELS, NOISES
from sdelens.laws.sde import SDE
from sdelens.paths.trajectories import Paths
from sdelens.seeds import derive

WALKS = ("random_walk", "constant")
RIVALS = (*WALKS, "iid_position")
BEYOND = " beyond that of the fit"
EMBEDDED = 32
"""Number of leading principal coordinates in which embeddability is tested."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Latent paths of training, validation and test documents, and the group of each document."""

    train: Paths
    validation: Paths
    test: Paths
    groups: Int[Tensor, " document"]
    weights: Float[Tensor, " dim"] | None = None
    """Squared length of a unit of each latent coordinate; None for 1."""

    @property
    def sides(self) -> tuple[Paths, Paths, Paths]:
        """Training, validation and test paths."""
        return self.train, self.validation, self.test


def gather(sde: SDE, scores: Mapping[str, Any], sample: Sample, *, seed: int) -> Evidence:
    """Compute the evidence for every property that the data allow to test.

    Gain, lack of fit, change along the path, memory and mixture are evaluated on test documents,
    with regressions fitted to training and selected on validation documents. Lagged moments use
    validation and test documents, which no coefficient was fitted to; embeddability uses training
    documents; tails, jumps and differences between paths use all. Standard errors are over groups
    of documents, which the split keeps together.
    """
    groups = torch.unique(sample.groups, return_inverse=True)[1]
    count = int(groups.max()) + 1
    choices = _residuals(sde, sample, groups, count)
    found = nested(choices)
    sides = found.sides
    gain = gain_over_best(scores)
    misfit = found.effect("lack of fit of the mean", scale=False, blocks=STATE, threshold=MEMORY)
    drift = max(0.0, _gain_over_walk(scores) + misfit.value)
    missed = misfit, found.effect("", scale=True, blocks=STATE, threshold=MEMORY)
    least = [MISSED * effect.value for effect in missed]
    rows = sides.train, sides.validation, sides.test
    unclamped = torch.cat([found.standard(each, clamped=False) for each in rows])
    tailed = tail_index(unclamped, torch.cat([each.group for each in rows]), count)
    axes = Axes.of(sample.train, EMBEDDED, sample.weights)
    return Evidence(
        gain=gain,
        misfit=misfit,
        changes=_by_block(
            found,
            "change of the {} along the path" + _beyond(choices, sides),
            blocks=TIME,
            drift=drift,
            least=least,
        ),
        memory=_by_block(found, "memory of the {}", blocks=PAST, drift=drift, least=least),
        differences=heterogeneity(
            rows,
            found.standard,
            count,
            thresholds=[max(min(SHOWN, FRACTION * drift), some) for some in least],
            tolerance=min(UNNOTICED[0], UNNOTICED[1] * drift),
        ),
        mixture=mixture_gain(sides, found.standard, seed=derive(seed, "mixture")),
        tails=tailed,
        orientation=orientation(sde, sides.test, found.standard if misfit.shown else None, count),
        embeddable=embeddable_share(
            sample.train, groups, axes.encoder, seed=derive(seed, "embeddable")
        ),
        lagged=lagged_moments(
            sde,
            (sample.validation, sample.test),
            groups,
            axes.leading(COORDINATES),
            trained=len(torch.unique(sides.train.group)),
            seed=derive(seed, "lagged"),
        ),
        jump=_jump(sde, sample, groups),
    )


def _residuals(
    sde: SDE, sample: Sample, groups: Int[Tensor, " document"], count: int
) -> list[Sides]:
    """Rows with the residuals of the law, and with those of its mean at the middle time."""
    own = [lagged(sde, side, groups) for side in sample.sides]
    middle = float(own[0].time.median())
    still = [lagged(sde, side, groups, at=middle) for side in sample.sides]
    same = torch.equal(own[0].residual, still[0].residual)
    choices = [own] if same else [own, still]
    return [Sides(train, validation, test, count) for train, validation, test in choices]


def _beyond(choices: Sequence[Sides], chosen: Sides) -> str:
    """What is said of a change of residuals if the law itself changes along the path."""
    return BEYOND if len(choices) > 1 and chosen is choices[0] else ""


def _by_block(
    found: Nested, name: str, *, blocks: Sequence[int], drift: float, least: Sequence[float]
) -> tuple[Effect, Effect]:
    """Gains of blocks, for the mean and for the scale, which are shown above `least` only."""
    sizes = (min(SHOWN, FRACTION * drift), min(MEMORY, PART * drift)), (SHOWN, MEMORY)
    mean, scale = (
        found.effect(
            name.format(of),
            scale=of == "scale",
            blocks=blocks,
            threshold=max(shown, some),
            tolerance=absent,
        )
        for of, (shown, absent), some in zip(("mean", "scale"), sizes, least, strict=True)
    )
    return mean, scale


def _jump(sde: SDE, sample: Sample, groups: Int[Tensor, " document"]) -> Effect | None:
    """Test for jumps; None if the step is discrete or the paths are too short for it."""
    blocks = chain.from_iterable(sample.sides)
    longest = max((int(block.steps.sum(1).max()) for block in blocks), default=0)
    if sde.density == "discrete" or longest <= max(INTERVALS):
        return None
    return jump_effect(tails(sample.sides, groups))


def gain_over_best(scores: Mapping[str, Any]) -> Effect:
    """Held-out gain over the best of `RIVALS` that is not the same law as the fit.

    The gain is recorded with the fit, with the same kind of noise for both.
    """
    if not scores:
        raise UsageError(
            "a verdict needs a fit with held-out scores, got one without: fit it with sdelens.fit"
        )
    gains = _gains(scores, [name for name in RIVALS if name not in scores.get("same_law", [])])
    return min(gains, key=lambda gain: gain.value)


def _gain_over_walk(scores: Mapping[str, Any]) -> float:
    """Gain over the better of the two random walks: what the drift explains of a step."""
    return min(gain.value for gain in _gains(scores, WALKS))


def _gains(scores: Mapping[str, Any], names: tuple[str, ...] | list[str]) -> list[Effect]:
    """Recorded gains of the fit over the rows that have one."""
    key = f"gain_of_fit{NOISES[scores['noise_column']]}"
    rows = {name: scores["baselines"][name] for name in names if name in scores["baselines"]}
    return [
        Effect(
            f"gain over {LABELS[name]}",
            row[key],
            row[f"{key}_stderr"],
            scores["held_out_documents"],
            threshold=0.0,
        )
        for name, row in rows.items()
        if key in row
    ]
