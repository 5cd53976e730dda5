"""Paths through the depth: how each block turns and stretches states, and how noise grows."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.depth import DepthMaps, DepthMoments, jackknifed
from sdelens.dynamics.depth_noise import LAWS, DepthSquares, NoiseLaws, depths
from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Viewed
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.intervals import (
    bars,
    estimate,
    line_with_band,
    with_interval,
)
from sdelens_plugins.analyzers.common.units import NATS

ENOUGH = 0.01
"""Nats per dimension: a law that loses less than this to another describes the noise as well."""
FREE = LAWS.index("free")
READING = (
    "A path is one token's state from the embedding (depth 0) through every block; documents are "
    "the sample, since the tokens of one are not independent. Each step has a linear map of its "
    "own, fitted by ridge regression of the increment. Its polar decomposition gives a stretch, "
    "by which deviations from a layer's mean grow, and a rotation, the angle by which they turn; "
    "both are averages over the states that are there, so that directions in which nothing lies "
    "do not count. The null is a map fitted to increments that were exchanged between tokens: "
    "what it turns and stretches by is the luck of the sample. The noise is what the map leaves "
    "of the next state. A model is a function: given all tokens before, nothing in it is random, "
    "so that this noise is what the current token's state does not tell of attention and of the "
    "nonlinearity. Its laws are compared by the likelihood of isotropic residuals, of which the "
    "coordinates of largest variance decide most. A law holds where noise that is free at every "
    f"depth gains less than {ENOUGH:g} nats per dimension beyond doubt, which variances that are "
    "off by a fifth would cost; a smaller loss may still be there. The step out of the embedding "
    "is of another kind than the rest, since there the state has seen no context; the laws are "
    "fitted without it as well. With few blocks an exponential and a power law are hard to "
    "tell apart; that one is not rejected does not make it the mechanism, and the error of an "
    "exponent is over documents, not over how blocks scatter about the curve. Sarfati et al. "
    "(2025) report an exponent of 0.18 per block for GPT-2; their law is of the variance at the "
    "end of a step, and a diffusion with that diffusivity would have a smaller one. That the "
    "exponent is not zero is held against the same variances in random order of depth."
)


@dataclass(frozen=True, eq=False)
class LinesOfThought:
    """Maps and noise by depth."""

    reading: ClassVar[str] = READING
    maps: DepthMaps
    null: DepthMaps
    stretch: Interval
    rotation: Interval
    variance: Interval
    r2: Interval
    own: Interval
    """The increment R² of the run's own fit."""
    laws: NoiseLaws
    later: NoiseLaws | None
    """The same without the step out of the embedding, where three others are left."""
    documents: tuple[int, int]
    """Of training, and held out."""

    @classmethod
    def of(
        cls, viewed: Viewed, groups: Int[Tensor, " document"], *, ridge: float, seed: int
    ) -> "LinesOfThought":
        """Two passes over training paths, one over held-out ones."""
        fitted = viewed.fitted
        moments = DepthMoments.of(fitted.basis, viewed.train, groups, seed=seed)
        total = moments.total()
        maps = DepthMaps.of(total, ridge=ridge)
        if len(maps.matrix) < 3:
            raise UsageError(
                "how noise grows with depth takes three blocks or more, but this model has "
                f"{len(maps.matrix)}: compare its layers in a run with --layer embed,all"
            )
        value, stderr = jackknifed(moments, ridge=ridge)
        train, test = (
            DepthSquares.of(maps, fitted.basis, fitted.law, paths, groups)
            for paths in (viewed.train, viewed.test)
        )
        own = derive(seed, "laws")
        many = len(maps.matrix) > 3
        held = Bootstrap.of(test.count, seed=derive(seed, "held"))
        seen = int((train.count > 0).sum())
        return cls(
            maps=maps,
            null=DepthMaps.of(total, ridge=ridge, swapped=True),
            stretch=Interval.student(value[:, 0], stderr[:, 0], moments.parts),
            rotation=Interval.student(value[:, 1], stderr[:, 1], moments.parts),
            variance=test.variance(held),
            r2=test.r2(held),
            own=test.r2(held, of="fitted"),
            laws=NoiseLaws.of(train, test, seed=own),
            later=NoiseLaws.of(train, test, first=2, seed=own) if many else None,
            documents=(seen, held.documents),
        )

    @property
    def x(self) -> Float[Tensor, " step"]:
        """The depth at which each step arrives."""
        return depths(len(self.maps.matrix))

    @property
    def share(self) -> Float[Tensor, " step"]:
        """The noise's share of the variance of the states at which it arrives."""
        level = self.maps.spread[1:].diagonal(dim1=-2, dim2=-1).mean(-1)
        return self.variance.value / level

    def headline(self) -> str:
        slope, judged = with_interval(self.laws.slope), judgement(self.laws)
        gain = with_interval(self.laws.gain[FREE])
        later = ""
        if self.later:
            more = with_interval(self.later.gain[FREE])
            later = (
                f"; after the first block the exponent is {with_interval(self.later.slope)} and "
                "the "
                f"law {judgement(self.later)} ({more})"
            )
        turn, pull = (float(each.value.median()) for each in (self.rotation, self.stretch))
        return (
            f"The exponent of the noise variance is {slope} per block and the exponential law "
            f"{judged} (noise free at every depth gains {gain} {NATS} on {self.documents[1]} "
            f"held-out documents){later}. The median block turns states by {turn:.0f} degrees and "
            f"stretches them {pull:.2f}-fold."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        unit = "documents, the sample size"
        found = [
            Estimate("training", float(self.documents[0]), unit=unit),
            Estimate("held out", float(self.documents[1]), unit=unit),
            *_of_laws(self.laws, ""),
            *(_of_laws(self.later, " after the first block") if self.later else ()),
        ]
        measures = {
            "stretch": (self.stretch, ""),
            "rotation": (self.rotation, "degrees"),
            "noise variance per coordinate": (self.variance, ""),
            "increment R² of its own map": (self.r2, ""),
            "increment R² of the run's fit": (self.own, ""),
        }
        # all of them are among the arrays: the first, the middle and the last give the course
        steps = sorted({0, len(self.x) // 2, len(self.x) - 1})
        for name, (interval, kind) in measures.items():
            found += [estimate(f"depth {k + 1}: {name}", interval[k], kind) for k in steps]
        return tuple(found)

    def arrays(self) -> dict[str, Tensor]:
        """Everything drawn; the maps themselves are made again from the run's states."""
        parts = ("stretch", "rotation", "variance", "r2", "own")
        every = {name: getattr(self, name).tensors() for name in parts}
        every["gain"] = self.laws.gain.tensors()
        return (
            prefixed(**every)
            | {
                "depth": self.x,
                "factors": self.maps.factors,
                "null.stretch": self.null.stretch,
                "null.rotation": self.null.rotation,
                "laws.log_variance": self.laws.log_variance,
                "share": self.share,
            }
            | ({"later.log_variance": self.later.log_variance} if self.later else {})
        )

    def figures(self) -> tuple[Figure, ...]:
        return figures(self)


def judgement(laws: NoiseLaws) -> str:
    """Whether the exponential law does as well as a free curve, beyond doubt."""
    held = laws.gain[FREE]
    if float(held.low) > ENOUGH:
        return "does not hold"
    return f"holds to within {ENOUGH:g}" if float(held.high) < ENOUGH else "may or may not hold"


def _of_laws(laws: NoiseLaws, where: str) -> list[Estimate]:
    """Exponents, their null, and what other laws gain."""
    found = [
        estimate(f"exponent of the exponential law{where}", laws.slope, "per block"),
        estimate(f"exponent of the power law{where}", laws.power, ""),
        Estimate(f"random orders of depth with as large an exponent{where}", laws.chance),
    ]
    for number, name in enumerate(LAWS[1:], start=1):
        gain = laws.gain[number]
        found.append(estimate(f"gain of {name} over exponential noise{where}", gain, NATS))
    return found


DEPTH = "depth of arrival"


def figures(found: "LinesOfThought") -> tuple[Figure, ...]:
    """Stretch and rotation, the noise with its laws, and how they compare."""
    return _maps(found), _noise(found), _compared(found)


def _maps(found: "LinesOfThought") -> Figure:
    tails = torch.tensor([0.1, 0.9], dtype=torch.float64)
    low, high = found.maps.factors.quantile(tails, dim=-1).log2()
    factors = Layer("band", {"x": found.x, "low": low, "high": high}, "80% of factors", 4)
    doubled = found.stretch.map(torch.log2)
    null = (found.null.stretch.log2(), found.null.rotation)
    plain = [
        Layer("line", {"x": found.x, "y": each}, "increments exchanged", 1, dashed=True)
        for each in null
    ]
    panels = (
        Panel(
            DEPTH,
            "doublings (log₂ of the factor)",
            (factors, *line_with_band(found.x, doubled, "map of each step", 0), plain[0]),
            "Stretch",
        ),
        Panel(
            DEPTH,
            "degrees",
            (*line_with_band(found.x, found.rotation, "map of each step", 0), plain[1]),
            "Rotation",
        ),
    )
    return Figure(
        "maps",
        panels,
        "By how much each block stretches and turns deviations from the mean state, with 95% "
        "intervals over training documents; the wide band holds the middle 80% of the stretch "
        "factors of all directions. Dashed: maps of increments exchanged between tokens.",
    )


def _noise(found: "LinesOfThought") -> Figure:
    logs = {name: found.laws.log_variance[row] for row, name in enumerate(LAWS)}
    values = {"x": found.x, "y": found.variance.value.log()}
    ends = {"x": found.x, "low": found.variance.low.log(), "high": found.variance.high.log()}
    fits = [
        Layer("line", {"x": found.x, "y": logs[name]}, f"{name} law", series, dashed=series > 1)
        for series, name in enumerate(("exponential", "power"), start=1)
    ]
    if found.later:
        own = {"x": found.x[1:], "y": found.later.log_variance[0]}
        fits.append(Layer("line", own, "exponential, after the first", 3, dashed=True))
    points = (Layer("band", ends), Layer("scatter", values, "held-out residuals"), *fits)
    share = Layer("line", {"x": found.x, "y": found.share}, "")
    panels = (
        Panel(DEPTH, "log variance per coordinate", points, "Noise"),
        Panel(DEPTH, "share of the states' variance", (share,), "Relative noise"),
    )
    return Figure(
        "noise",
        panels,
        "Natural logarithm of the noise variance by depth, with 95% intervals over held-out "
        "documents, and the laws fitted to training documents; an exponential law is a "
        "straight line. Right: the same variance relative to that of the states there.",
    )


def _compared(found: "LinesOfThought") -> Figure:
    words = [f"{name} law" if name != "free" else "free curve" for name in LAWS[1:]]
    both = (
        *line_with_band(found.x, found.r2, "map of each step", 0),
        *line_with_band(found.x, found.own, "the run's fit", 1),
    )
    panels = (
        Panel("", f"gain, {NATS}", (bars(found.laws.gain[1:], words),), "Over exponential"),
        Panel(DEPTH, "share explained", both, "Increment R²"),
    )
    return Figure(
        "laws",
        panels,
        "Held-out gain of other laws of the noise over the exponential one; and the share of "
        "the squared increments that is explained. 95% intervals over documents.",
    )
