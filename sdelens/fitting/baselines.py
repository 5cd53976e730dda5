"""Baselines: simple means with each kind of noise, fitted to the same documents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    above_rounding,
    drifting,
    random_walk,
    second_moment,
)
from sdelens.estimation.noise import features_of, fit_noise
from sdelens.estimation.optimise import Schedule
from sdelens.estimation.selection import selected
from sdelens.estimation.timed import noise_around, timed_noise
from sdelens.fitting.fitted import Record
from sdelens.interfaces import load
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import Gaussian, Kernel, Law, Noise, prefixed
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.protocols import MatchedProbe, Probe, Watch, ignore_epoch
from sdelens.settings import build

TERMS = {
    "iid": Terms(),
    "iid_position": Terms(position=True),
    "token": Terms(position=True, token=True),
    "linear": Terms(state=True, position=True),
    "linear_token": Terms(state=True, position=True, token=True),
}
NAMES = ("random_walk", "constant", *TERMS)
"""Baselines in display order."""
DOUBT = 16
"""Weight, in validation transitions, of the prior that validation residuals are as in training."""


@dataclass(frozen=True)
class Effort:
    """The noise of the baselines: of the same structure and with the same training as the fit's.

    A `MatchedProbe` provides it; other probes use the defaults.
    """

    noise: NoiseSpec = NoiseSpec()  # noqa: RUF009 (frozen)
    hidden: tuple[int, ...] = (256, 256)
    waves: int = 4
    schedule: Schedule = Schedule()  # noqa: RUF009 (frozen)


def effort_of(probe: Probe, dim: int) -> Effort:
    """The effort of a probe, or the defaults."""
    found: Effort = probe.effort(dim) if isinstance(probe, MatchedProbe) else Effort()
    return found


def noise_spec(record: Record, dim: int) -> NoiseSpec:
    """The noise of the baselines of a fit with this record."""
    probe = build(load("probe", record.probe), dict(record.settings), record.probe)
    return effort_of(probe, dim).noise


def baseline_means(train: Moments, validation: Moments) -> dict[str, AdditiveMean]:
    """All closed-form means; token means only if there are tokens."""
    known = len(train.tokens) > 0
    fitted = {
        name: selected(train, validation, terms)
        for name, terms in TERMS.items()
        if known or not terms.token
    }
    walk = random_walk(train)
    drift = drifting(train, by_position=known)
    return {"random_walk": walk, "constant": drift} | fitted


def covariance_of(
    mean: AdditiveMean, train: Moments, validation: Moments
) -> Float[Tensor, "dim dim"]:
    """Covariance of the residuals of a mean: shape from training, size from validation.

    A mean with many parameters has small training residuals. With noise of that size it would be
    penalised for overconfidence instead of its predictions.
    """
    covariance, held = second_moment(mean, train), second_moment(mean, validation)
    return covariance * validation_inflation(
        covariance.diagonal(), held.diagonal(), validation.count
    )


def validation_inflation(
    train: Float[Tensor, " dim"], validation: Float[Tensor, " dim"], count: int
) -> float:
    """Ratio of the residual variance on validation to training, shrunk for few transitions."""
    varies = train > 0
    if not varies.any():
        return 1.0
    ratio = float((validation[varies] / train[varies]).mean())
    return (count * ratio + DOUBT) / (count + DOUBT)


def constant_laws(
    means: dict[str, AdditiveMean],
    train: Moments,
    validation: Moments,
    spec: NoiseSpec,
    paths: Paths | None = None,
) -> dict[str, Kernel]:
    """Each mean with constant noise.

    Training paths are needed only for noise with separate standard deviations at each time.
    """

    def around(mean: AdditiveMean) -> Noise:
        if spec.by_time:
            return noise_around(spec, mean, train, paths)
        return ConstantNoise.of(spec, covariance_of(mean, train, validation), train.count)

    return {name: Kernel(mean.to(torch.float32), around(mean)) for name, mean in means.items()}


def state_dependent_laws(
    means: dict[str, AdditiveMean],
    sums: tuple[Moments, Moments],
    effort: Effort,
    train: Paths,
    validation: Paths,
    *,
    seed: int,
    watch: Watch = ignore_epoch,
) -> dict[str, Kernel]:
    """Each mean with state-dependent noise of the same structure, trained in one batch."""
    ready = [mean.to(torch.float32) for mean in means.values()]
    noises = fit_noise(
        effort.noise,
        ready,
        [covariance_of(mean, *sums) for mean in means.values()],
        features_of(sums[0], effort.waves),
        train,
        validation,
        hidden=effort.hidden,
        schedule=effort.schedule,
        seed=seed,
        watch=watch,
    )
    return {
        name: Kernel(mean, noise) for name, mean, noise in zip(means, ready, noises, strict=True)
    }


@torch.no_grad()
def residual_moment(
    law: Law, paths: Paths, *, own: bool = False
) -> tuple[Float[Tensor, "dim dim"], int]:
    """E[rr'] of a law's residuals in one pass, and the number of transitions.

    With `own`, residuals are divided by the law's own standard deviations.
    """
    total: Tensor | float = 0.0
    states: Tensor | float = 0.0
    count = 0
    for block in paths:
        found = law.predict(block)
        off = block.states[:, 1:] - found.mean[:, :-1]
        if own:
            off = off / found.covariance().variance().sqrt().expand(found.mean.shape)[:, :-1]
        residual, following = (x[block.steps].double() for x in (off, block.states[:, 1:]))
        total = total + residual.mT @ residual
        states = states + following.square().sum(0).diag()
        count += len(residual)
    moment = torch.as_tensor(total) / count
    return moment if own else above_rounding(moment, torch.as_tensor(states) / count), count


@dataclass(frozen=True, eq=False)
class WithConstantNoise(Law):
    """The mean of a law with a different noise."""

    law: Law
    noise: Noise

    def predict(self, past: Trajectories) -> Gaussian:
        t = past.times.expand(past.mask.shape)
        return Gaussian(self.law.predict(past).mean, self.noise(t, past.states))

    @property
    def constant_noise(self) -> bool:
        return self.noise.constant

    def tensors(self) -> dict[str, Tensor]:
        return prefixed(law=self.law.tensors(), noise=self.noise.tensors())


def refitted(law: Law, train: Paths, validation: Paths, spec: NoiseSpec) -> WithConstantNoise:
    """A law's mean with constant noise, estimated as for the baselines (`constant_laws`)."""
    if spec.by_time:
        return WithConstantNoise(
            law, timed_noise(spec, lambda block: law.predict(block).mean, train)
        )
    (seen, count), (held, fewer) = (residual_moment(law, paths) for paths in (train, validation))
    size = validation_inflation(seen.diagonal(), held.diagonal(), fewer)
    return WithConstantNoise(law, ConstantNoise.of(spec, size * seen, count))
