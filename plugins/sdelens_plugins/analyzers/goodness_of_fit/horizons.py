"""Forecasts of several steps: the iterated kernel and direct fits of as many steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.estimation.additive import (
    Moments,
    times_of,
)
from sdelens.estimation.selection import selected
from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.horizons import Starts, alone, iterated, memoryless, thinned
from sdelens.evidence.interval import Interval
from sdelens.evidence.proper_scores import energy_score, moment_matched_nll
from sdelens.evidence.scorecard import pieces
from sdelens.fitting.baselines import constant_laws
from sdelens.fitting.study import Viewed
from sdelens.language.nulls import TERMS
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import Kernel
from sdelens.paths.trajectories import Paths
from sdelens.seeds import derive
from sdelens_plugins.analyzers.goodness_of_fit.section_skipped import SectionSkipped

SCHEMES = {
    "iterated": "the fit, iterated",
    "linear": "linear, fitted directly",
    "iid_position": "i.i.d. per position",
}
SQUARES, NLL, ENERGY = range(3)


@dataclass(frozen=True, eq=False)
class ForecastScores:
    """Sums over documents of forecast scores and of squared increments."""

    horizons: tuple[int, ...]
    sums: Float[Tensor, "scheme score horizon document"]
    motion: Float[Tensor, "horizon document"]
    count: Float[Tensor, " document"]

    @classmethod
    def of(
        cls,
        viewed: Viewed,
        groups: Int[Tensor, " document"],
        *,
        horizons: Sequence[int],
        starts: int,
        draws: int,
        seed: int,
    ) -> "ForecastScores":
        """Forecasts from about `starts` test states, evenly spread over documents.

        Raises `SectionSkipped` if the law cannot be iterated or documents are too short.
        """
        fitted = viewed.fitted
        test = fitted.encoded(viewed.test)
        _require_memoryless(viewed)
        start = _starts(test, horizons, starts)
        used = horizons[: len(start.following)]
        train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
        states = iterated(
            fitted.law, start.t, start.x, dt=fitted.dt, steps=used[-1], draws=draws, seed=seed
        )
        draws_at = (d for step, d in enumerate(states, start=1) if step in used)
        rows = []
        for horizon, sample, following in zip(used, draws_at, start.following, strict=True):
            scores = [_draw_scores(sample, following)]
            for law in _direct_fits(train, validation, horizon).values():
                draw_seed = derive(seed, "direct", horizon)
                scores.append(_kernel_scores(law, start, following, draws, draw_seed))
            rows.append(torch.stack(scores))
        unit, units = groups[start.document.cpu()], int(groups.max()) + 1
        count = by_unit(torch.ones(len(unit)), unit, units)
        return cls(
            horizons=tuple(used),
            sums=by_unit(torch.stack(rows, dim=2), unit, units),
            motion=by_unit((start.following - start.x).square().sum(-1), unit, units),
            count=count,
        )

    def r2(self, scheme: int) -> Interval:
        """The share of the squared increments over each horizon that the mean explains."""
        return 1.0 - Interval.ratio(self.sums[scheme, SQUARES], self.motion)

    def gain(self, scheme: int, over: int = 2) -> Interval:
        """The gain of one scheme over another, in nats per dimension."""
        lead = self.sums[over, NLL] - self.sums[scheme, NLL]
        return Interval.ratio(lead, self.count)

    def lower(self, scheme: int, over: int = 2) -> Interval:
        """The reduction of the energy score relative to another scheme, in percent."""
        other = self.sums[over, ENERGY]
        return Interval.ratio(100 * (other - self.sums[scheme, ENERGY]), other)


def _require_memoryless(viewed: Viewed) -> None:
    block = next(pieces(viewed.fitted.encoded(viewed.test)))
    if not memoryless(viewed.fitted.law, block):
        raise SectionSkipped(
            "Horizons are left out: the law needs tokens, or more of the past than the last "
            "state, so its kernel cannot be iterated."
        )


def _starts(test: Paths, horizons: Sequence[int], most: int) -> Starts:
    """Start states for as many of the horizons as the longest test document allows."""
    documents = sum(len(block.document) for block in test)
    for count in range(len(horizons), 0, -1):
        starts = Starts.of(test, horizons[:count], each=max(1, most // max(1, documents)))
        if starts:
            return starts
    raise SectionSkipped("Horizons are left out: no test document has three states in a row.")


def _direct_fits(train: Paths, validation: Paths, steps: int) -> dict[str, Kernel]:
    """Closed-form fits of `steps` steps at once, with constant diagonal noise."""
    spaced, held = thinned(train, steps), thinned(validation, steps)
    times = times_of(spaced)
    moments, held_moments = Moments.of(spaced, times), Moments.of(held, times)
    means = {
        name: selected(moments, held_moments, TERMS[name])
        for name in SCHEMES
        if name != "iterated"
    }
    return constant_laws(means, moments, held_moments, NoiseSpec())


def _draw_scores(
    draws: Float[Tensor, "start draw dim"], following: Float[Tensor, "start dim"]
) -> Float[Tensor, "score start"]:
    """Scores of simulated states; the squares are corrected for the finite number of draws."""
    spread = draws.var(-2).sum(-1) / draws.shape[-2]
    squares = (following - draws.mean(-2)).square().sum(-1) - spread
    nats = moment_matched_nll(draws, following).mean(-1)
    return torch.stack([squares, nats, energy_score(draws, following)])


def _kernel_scores(
    law: Kernel, start: Starts, following: Float[Tensor, "start dim"], draws: int, seed: int
) -> Float[Tensor, "score start"]:
    """Scores of a law of one long step."""
    predicted = law.predict(alone(start.t, start.x))
    squares = (following - predicted.mean[:, 0]).square().sum(-1)
    nats = -predicted.log_density(following[:, None])[:, 0] / following.shape[-1]
    sample = next(iterated(law, start.t, start.x, dt=1.0, steps=1, draws=draws, seed=seed))
    return torch.stack([squares, nats, energy_score(sample, following)])
