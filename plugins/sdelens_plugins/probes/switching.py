"""A switching linear dynamical system with observed states, by expectation maximisation."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    mean_squares,
    residual_variance,
    second_moment,
    times_of,
)
from sdelens.estimation.expectation_maximisation import Expected, Prior, climb, expected
from sdelens.estimation.noise import ConstantNoise, NoiseSpec
from sdelens.estimation.regimes import Departures, Regimes, SwitchingLaw
from sdelens.estimation.selection import selected
from sdelens.estimation.starts import best_start, sampled
from sdelens.fitting.baselines import Effort
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale
from sdelens.paths.trajectories import Paths
from sdelens.protocols import Epoch, Fit, Watch
from sdelens.seeds import derive
from sdelens.settings import require_at_least

GRID = (1, 2, 3, 4, 6, 8)
"""Candidate numbers of regimes, in this order."""
LEAST = 1e-3
"""Gain in nats per dimension on validation documents that the next number must reach."""
TRIAL = 3
"""Passes before numbers of regimes are compared; only the best one continues."""
CLEAR = 10
"""Gain that intercepts by position must reach, in multiples of their estimation cost."""


@dataclass(frozen=True)
class SwitchingProbe:
    """``X' = A_z X + c_z + c_t + noise_z``, z a Markov chain of regimes: an autoregressive HMM.

    Regimes are penalised towards the linear probe's solution. Carson and Reisizadeh, "A
    statistical physics of language model reasoning" (2025), fit such systems to states of language
    models. With `regimes` None their number is chosen on validation documents. `ridge` scales the
    penalty, whose weight is that of `ridge` times as many observations as there are coordinates.
    The variance of a regime is at least `floor` times that of the linear probe. The best of
    `starts` random starts is continued until a pass gains less than `tolerance` nats per dimension
    and transition.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete",)
    looks_back: ClassVar[bool] = True

    density: Literal["discrete"] = "discrete"
    regimes: int | None = None
    noise: str = "diagonal"
    ridge: float = 1.0
    floor: float = 1e-3
    starts: int = 4
    passes: int = 25
    tolerance: float = 2e-5

    def __post_init__(self) -> None:
        require_at_least(self, tolerance=0)
        if not issubclass(NoiseSpec(self.noise).family(2).scale, DiagonalScale | LowRankScale):
            raise UsageError(
                f"noise of regimes must be scalar, diagonal or correlated:K, got {self.noise!r}"
            )
        if self.regimes is not None and self.regimes < 1:
            raise UsageError(f"regimes must be 1 or more, or none to choose, got {self.regimes}")
        if not (self.floor > 0 and self.starts > 0 and self.passes > 0 and self.ridge >= 0):
            raise UsageError(
                "floor, starts and passes must be above 0 and ridge not below, got "
                f"{self.floor}, {self.starts}, {self.passes} and {self.ridge}"
            )

    def effort(self, dim: int) -> Effort:
        """Baselines get noise of the same structure."""
        del dim
        return Effort(NoiseSpec(self.noise))

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        linear = _common(moments, held)
        covariance = second_moment(linear, moments)
        prior = self._prior(moments, covariance.diagonal())
        scale = ConstantNoise.of(NoiseSpec(self.noise), covariance).scale
        noise = cast(DiagonalScale | LowRankScale, scale)  # no other passes `__post_init__`
        seen, unseen = (
            Departures(paths, linear.to(torch.float32)) for paths in (train, validation)
        )
        sample = sampled(train, seen.common, moments.count)

        def climbed(start: Regimes, passes: int) -> tuple[Regimes, tuple[Epoch, ...]]:
            return self._climbed(start, seen, unseen, prior, passes, watch)

        def tried(count: int, passes: int) -> tuple[Regimes, tuple[Epoch, ...]]:
            part = derive(seed, "regimes", count)
            start = best_start(sample, count, prior, noise, starts=self.starts, seed=part)
            return climbed(start, passes)

        if self.regimes is not None:
            best, history = tried(self.regimes, self.passes)
        else:
            best, _ = _best(tried(count, min(TRIAL, self.passes)) for count in GRID)
            best, history = climbed(best, self.passes)
        return Fit(SwitchingLaw(seen.common, best[0].to(torch.float32)), history)

    def _climbed(
        self,
        start: Regimes,
        seen: Departures,
        unseen: Departures,
        prior: Prior,
        passes: int,
        watch: Watch,
    ) -> tuple[Regimes, tuple[Epoch, ...]]:
        """The regimes reached from a start."""
        history: list[Epoch] = []
        before = -torch.inf
        for regimes, sums in islice(climb(start, seen, prior), passes):
            losses = _losses(sums), _losses(expected(regimes, unseen))
            history.append(Epoch(len(history) + 1, passes, *losses))
            watch(history[-1])
            value = float(sums.log_likelihood + prior.log_density(regimes))
            if value - before < self.tolerance * sums.cross.shape[-1] * int(sums.transitions):
                break
            before = value
        return regimes, tuple(history)

    def _prior(self, moments: Moments, variance: Float[Tensor, " dim"]) -> Prior:
        weight = self.ridge * moments.dim * mean_squares(moments.xx) / moments.count
        penalty = torch.cat([weight, torch.ones_like(weight[:1])])
        return Prior(penalty, variance, self.floor * variance)

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SwitchingLaw:
        del config  # the tensors contain everything
        return SwitchingLaw.restore(dict(tensors))


def _common(moments: Moments, held: Moments) -> AdditiveMean:
    """The linear probe's mean, with intercepts by position if validation clearly gains by them.

    The regimes keep this mean, and errors of intercepts weigh more because regimes have less
    noise.
    """
    one, by_position = (
        selected(moments, held, Terms(state=True, position=position)) for position in (False, True)
    )
    losses = (residual_variance(mean, held).log().mean() / 2 for mean in (one, by_position))
    gain = float(next(losses) - next(losses))
    cost = len(moments.times) / (2 * moments.count)
    return by_position if gain > CLEAR * cost else one


def _best(
    tried: Iterator[tuple[Regimes, tuple[Epoch, ...]]],
) -> tuple[Regimes, tuple[Epoch, ...]]:
    """The last candidate that gains `LEAST` over its predecessor; later ones are not tried."""
    best = next(tried)
    for other in tried:
        before, after = (history[-1].validation["diffusion"] for _, history in (best, other))
        if before - after < LEAST:
            break
        best = other
    return best


def _losses(sums: Expected) -> dict[str, float]:
    """Losses of an epoch, per dimension and transition."""
    count = sums.cross.shape[-1] * int(sums.transitions)
    drift, nats = float(sums.squares) / count, -float(sums.log_likelihood) / count
    return {"drift": drift, "diffusion": nats, "total": drift + nats}
