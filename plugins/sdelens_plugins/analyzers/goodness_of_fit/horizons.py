"""Several steps ahead: the iterated kernel beside a direct fit of as many steps."""

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
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.horizons import Starts, alone, iterated, memoryless, thinned
from sdelens.evidence.interval import Interval
from sdelens.evidence.nulls import TERMS
from sdelens.evidence.proper_scores import energy_score, moment_matched_nll
from sdelens.evidence.scorecard import pieces
from sdelens.fitting.baselines import constant_laws
from sdelens.fitting.study import Viewed
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.laws.law import Kernel, prefixed
from sdelens.paths.trajectories import Paths
from sdelens.report import Estimate, Figure, Panel, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.intervals import estimate, line_with_band, with_interval
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.goodness_of_fit.sections import SectionSkipped

SCHEMES = {
    "iterated": "the fit, iterated",
    "linear": "linear, fitted directly",
    "iid_position": "i.i.d. per position",
}
SQUARES, NLL, ENERGY = range(3)


@dataclass(frozen=True, eq=False)
class ForecastScores:
    """Sums of scores by scheme, score, horizon and document, and of the squared increments."""

    horizons: tuple[int, ...]
    sums: Float[Tensor, "scheme score horizon document"]
    motion: Float[Tensor, "horizon document"]
    count: Float[Tensor, " document"]
    bootstrap: Bootstrap

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
        """From about `starts` test states, evenly spread over documents."""
        fitted = viewed.fitted
        test = fitted.encoded(viewed.test)
        _require_memoryless(viewed)
        from_ = _starts(test, horizons, starts)
        used = horizons[: len(from_.following)]
        train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
        states = iterated(
            fitted.law, from_.t, from_.x, dt=fitted.dt, steps=used[-1], draws=draws, seed=seed
        )
        reached = (drawn for step, drawn in enumerate(states, start=1) if step in used)
        rows = []
        for h, drawn, following in zip(used, reached, from_.following, strict=True):
            own = [_of_draws(drawn, following)]
            for law in _direct(train, validation, h).values():
                own.append(_of_kernel(law, from_, following, draws, derive(seed, "direct", h)))
            rows.append(torch.stack(own))
        unit, units = groups[from_.document.cpu()], int(groups.max()) + 1
        count = by_unit(torch.ones(len(unit)), unit, units)
        return cls(
            horizons=tuple(used),
            sums=by_unit(torch.stack(rows, dim=2), unit, units),
            motion=by_unit((from_.following - from_.x).square().sum(-1), unit, units),
            count=count,
            bootstrap=Bootstrap.of(count, seed=seed),
        )

    def r2(self, scheme: int) -> Interval:
        """The share of the squared increments over each horizon that the mean explains."""
        return 1.0 - self.bootstrap.ratio(self.sums[scheme, SQUARES], self.motion)

    def gain(self, scheme: int, over: int = 2) -> Interval:
        """Nats per dimension by which one scheme is better than another."""
        lead = self.sums[over, NLL] - self.sums[scheme, NLL]
        return self.bootstrap.ratio(lead, self.count)

    def lower(self, scheme: int, over: int = 2) -> Interval:
        """Percent by which its energy score is lower."""
        other = self.sums[over, ENERGY]
        return self.bootstrap.ratio(100 * (other - self.sums[scheme, ENERGY]), other)

    def headline(self) -> str:
        return (
            f"Iterated over {counted(self.horizons[-1], 'step')}, the kernel gains "
            f"{with_interval(self.gain(0, 1)[-1])} {NATS} over a linear fit of that many steps."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        found = []
        for row, h in enumerate(self.horizons):
            steps = counted(h, "step")
            for scheme, label in enumerate(SCHEMES.values()):
                found.append(estimate(f"increment R², {steps}, {label}", self.r2(scheme)[row], ""))
            found.append(
                estimate(
                    f"gain of iterated over direct linear, {steps}", self.gain(0, 1)[row], NATS
                )
            )
            name = f"energy score lower than direct linear's, {steps}"
            found.append(estimate(name, self.lower(0, 1)[row], "percent"))
        return tuple(found)

    def arrays(self) -> dict[str, Tensor]:
        named = {"horizon.steps": torch.tensor(self.horizons)}
        for scheme, name in enumerate(SCHEMES):
            for measure in ("r2", "gain", "lower"):
                interval: Interval = getattr(self, measure)(scheme)
                named |= prefixed(**{f"horizon.{name}.{measure}": interval.tensors()})
        return named

    def figures(self) -> tuple[Figure, ...]:
        x = torch.tensor(self.horizons).double()
        panels = []
        for title, y, measure in (
            ("Increment R²", "share explained", self.r2),
            ("Energy score", "lower by, percent", self.lower),
            ("Likelihood", f"gain, {NATS}", self.gain),
        ):
            layers = [
                layer
                for scheme, label in enumerate(SCHEMES.values())
                for layer in line_with_band(x, measure(scheme), label, scheme)
            ]
            panels.append(Panel("steps ahead", y, tuple(layers), title))
        return (
            Figure(
                "horizons",
                tuple(panels),
                "Several steps ahead from "
                f"{counted(int(self.count.sum()), 'test state')}: the kernel iterated by "
                "simulation, a linear fit of as many steps, and i.i.d. states per position, over "
                "which energy score and likelihood are measured; 95% intervals over documents.",
            ),
        )


def _require_memoryless(viewed: Viewed) -> None:
    block = next(pieces(viewed.fitted.encoded(viewed.test)))
    if not memoryless(viewed.fitted.law, block):
        raise SectionSkipped(
            "Horizons are left out: the law needs tokens, or more of the past than the last "
            "state, so that its kernel cannot be iterated."
        )


def _starts(test: Paths, horizons: Sequence[int], most: int) -> Starts:
    """With as many of the horizons as some test document is long enough for."""
    documents = sum(len(block.document) for block in test)
    for count in range(len(horizons), 0, -1):
        found = Starts.of(test, horizons[:count], each=max(1, most // max(1, documents)))
        if found:
            return found
    raise SectionSkipped("Horizons are left out: no test document has three states in a row.")


def _direct(train: Paths, validation: Paths, steps: int) -> dict[str, Kernel]:
    """The closed forms of that many steps at once, with constant diagonal noise."""
    apart, held = thinned(train, steps), thinned(validation, steps)
    times = times_of(apart)
    moments, kept = Moments.of(apart, times), Moments.of(held, times)
    means = {name: selected(moments, kept, TERMS[name]) for name in SCHEMES if name != "iterated"}
    return constant_laws(means, moments, kept, NoiseSpec())


def _of_draws(
    draws: Float[Tensor, "start draw dim"], following: Float[Tensor, "start dim"]
) -> Float[Tensor, "score start"]:
    """Squares, likelihood and energy of simulated states, without the bias of finitely many."""
    spread = draws.var(-2).sum(-1) / draws.shape[-2]
    squares = (following - draws.mean(-2)).square().sum(-1) - spread
    nats = moment_matched_nll(draws, following).mean(-1)
    return torch.stack([squares, nats, energy_score(draws, following)])


def _of_kernel(
    law: Kernel, from_: Starts, following: Float[Tensor, "start dim"], draws: int, seed: int
) -> Float[Tensor, "score start"]:
    """The same of a law of one long step."""
    predicted = law.predict(alone(from_.t, from_.x))
    squares = (following - predicted.mean[:, 0]).square().sum(-1)
    nats = -predicted.log_density(following[:, None])[:, 0] / following.shape[-1]
    drawn = next(iterated(law, from_.t, from_.x, dt=1.0, steps=1, draws=draws, seed=seed))
    return torch.stack([squares, nats, energy_score(drawn, following)])
