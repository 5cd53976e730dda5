"""A mixture of Gaussians whose weights, means and variances are functions of state and time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    second_moment,
    times_of,
)
from sdelens.estimation.expectation_maximisation import Prior, expected
from sdelens.estimation.noise import features_of
from sdelens.estimation.optimise import ParameterGroup, Schedule, minimise
from sdelens.estimation.selection import selected
from sdelens.estimation.starts import best_start, sampled, stacked
from sdelens.fitting.baselines import Effort
from sdelens.laws.law import Gaussian, Law, group_of, prefixed
from sdelens.laws.mixture import Mixture
from sdelens.laws.noise_families.family import variances
from sdelens.laws.scale import DiagonalScale
from sdelens.paths.trajectories import Paths, Trajectories, Transitions
from sdelens.protocols import Fit, Watch
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens_plugins.probes.mixture.emission import Emission


@dataclass(frozen=True, eq=False)
class MixtureLaw(Law):
    """A mixture around a linear mean, and a variant with a lower variance floor."""

    linear: AdditiveMean
    emission: Emission
    lower: "MixtureLaw | None" = None

    def predict(self, past: Trajectories) -> Mixture:
        t = past.times.expand(past.mask.shape)
        centre = self.linear(t, past.states, past.tokens)
        log_weights, means, stds = self.emission(t, past.states, centre)
        each = zip(means.unbind(-2), stds.unbind(-2), strict=True)
        components = tuple(Gaussian(mean, DiagonalScale(std)) for mean, std in each)
        return Mixture(log_weights, components)

    @property
    def variants(self) -> dict[str, Law]:
        """What is scored beside this law: where the lower floor gains, states are near atoms."""
        return {} if self.lower is None else {"lower floor": self.lower}

    def tensors(self) -> dict[str, Tensor]:
        lower = {} if self.lower is None else prefixed(lower=self.lower.emission.tensors())
        own = prefixed(linear=self.linear.tensors(), emission=self.emission.tensors())
        return own | lower


@dataclass(frozen=True)
class MixtureProbe:
    """``p(x'|x,t) = sum_k w_k N(m_k, s_k^2)``, all functions of x and t, by a network.

    It starts from the linear probe with a constant mixture of its residuals. Variances are at
    least `floor` times the coordinate's training variance, because near-discrete states would let
    the likelihood grow without bound. A second fit in the same computation uses `lower_floor`: a
    gain that grows with a lower floor is no evidence of multiple modes.
    """

    densities: ClassVar[tuple[str, ...]] = ("discrete",)
    looks_back: ClassVar[bool] = False

    density: Literal["discrete"] = "discrete"
    components: int = 8
    floor: float = 0.01
    lower_floor: float = 0.001
    width: int = 256
    depth: int = 2
    waves: int = 4
    epochs: int = 10
    batch: int = 512
    rate: float = 2e-3
    weight_decay: float = 0.01
    least_steps: int = 2000
    patience: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, width=1, depth=1, waves=0, epochs=1, batch=1, rate=0)
        require_at_least(self, weight_decay=0, least_steps=0, patience=1)
        if self.components < 1:
            raise UsageError(f"components must be 1 or more, got {self.components}")
        if not 0 < self.lower_floor < self.floor:
            raise UsageError(
                "floors must be above 0, the lower one below the other, got "
                f"lower_floor={self.lower_floor} and floor={self.floor}"
            )

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        linear = selected(moments, held, Terms(state=True, position=True))
        start = linear.to(torch.float32)
        stack = self._stack(train, start, second_moment(linear, moments), moments, seed)

        def losses(batch: Transitions) -> dict[str, Tensor]:
            centre = start(batch.t, batch.x, batch.token)
            log_weights, means, stds = stack(batch.t, batch.x, centre)
            mean = (log_weights.detach().exp()[..., None] * means.detach()).sum(-2)
            parts = DiagonalScale(stds).log_density(batch.following[:, None] - means)
            nats = -(log_weights + parts).logsumexp(-1).mean(-1) / moments.dim
            squares = (batch.following - mean).square().mean((-2, -1))
            return {"drift": squares, "diffusion": nats}

        groups = [
            ParameterGroup(stack.network.weights),
            ParameterGroup([*stack.network.biases, stack.direct], decays=False),
        ]
        history, _ = minimise(
            groups, losses, train, validation, self.schedule, seed=seed, watch=watch
        )
        lower = MixtureLaw(start, stack.member(1))
        return Fit(MixtureLaw(start, stack.member(0), lower), history)

    def _stack(
        self,
        train: Paths,
        linear: AdditiveMean,
        covariance: Float[Tensor, "dim dim"],
        moments: Moments,
        seed: int,
    ) -> Emission:
        """One member per floor, starting at a mixture of the linear mean's residuals."""
        features = features_of(moments, self.waves)
        std = variances(covariance).sqrt().float()
        floors = [share * features.std.square() for share in (self.floor, self.lower_floor)]
        # the intercept alone: the network adds what depends on the state
        sample = [
            replace(piece, features=piece.features[:, -1:])
            for piece in sampled(train, linear, moments.count)
        ]
        one, variance = std.new_ones(1).double(), std.double().square()
        begin = partial(best_start, sample, self.components, noise=DiagonalScale(std), starts=4)
        priors = [Prior(one, variance, floor.double()) for floor in floors]
        start = stacked([begin(prior, seed=derive(seed, "start"))[0] for prior in priors])
        logits = (expected(start, sample).count + 1).log()
        hidden, part = [self.width] * self.depth, derive(seed, "network")
        return Emission.stack(features, std, torch.stack(floors), start, logits, hidden, part)

    def effort(self, dim: int) -> Effort:
        """Baselines get a noise network of the same size and training."""
        del dim
        hidden = (self.width,) * self.depth
        return Effort(hidden=hidden, waves=self.waves, schedule=self.schedule)

    @property
    def schedule(self) -> Schedule:
        """The optimisation schedule."""
        return Schedule(
            epochs=self.epochs,
            batch=self.batch,
            rate=self.rate,
            weight_decay=self.weight_decay,
            least_steps=self.least_steps,
            patience=self.patience,
        )

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MixtureLaw:
        del config  # the tensors contain everything
        groups = {name: group_of(dict(tensors), name) for name in ("linear", "emission", "lower")}
        linear = AdditiveMean(**groups["linear"])
        lower = MixtureLaw(linear, Emission.restore(groups["lower"], self.waves))
        return MixtureLaw(linear, Emission.restore(groups["emission"], self.waves), lower)
