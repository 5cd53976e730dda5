"""Neural drift and diffusion, trained by maximum likelihood of the next state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, cast, get_args

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import Moments, Terms, second_moment, times_of
from sdelens.estimation.noise import StateDependentNoise, features_of
from sdelens.estimation.optimise import Losses, Schedule, minimise
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import Effort
from sdelens.laws.coefficient_sde import CoefficientSDE
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.expansion import EXACT, Precision, training
from sdelens.laws.law import Noise, group_of
from sdelens.laws.resolution import density_for, is_finer, step_jacobian
from sdelens.laws.sde import SDE, Density, KernelSDE
from sdelens.paths.stacked import StackedPaths
from sdelens.paths.trajectories import Paths, Transitions, dt_of
from sdelens.protocols import Epoch, Fit, FitTask, Watch
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens_plugins.probes.neural.perceptrons import NeuralMean, Perceptrons, Size, size_for

FEW = 16
"""Largest dimension for which the noise of a diffusion is full by default."""
Resolved = Literal["euler", "kessler", "ozaki", "strang"]
Choice = Literal["discrete", Resolved, "auto"]


@dataclass(frozen=True)
class NeuralProbe:
    r"""Drift and diffusion as multilayer perceptrons of the state and a Fourier encoding of time.

    The drift includes a linear path that starts at the least-squares solution, so training starts
    from the linear probe and departs from it only as far as validation improves. The diffusion is
    a softplus scale with a floor, of the family `noise`; with `additive` it is equal in all
    states. Both are trained jointly by maximising the density of the next state.

    For ``discrete`` they depend on time; for the other densities only on the state
    (`sdelens.laws.densities`). ``auto`` fits with ``euler``, measures how much the process changes
    within a step (`sdelens.laws.resolution`), and fits again with a suitable density. Settings
    that are None follow from the data (`size_for`).
    """

    densities: ClassVar[tuple[str, ...]] = get_args(Choice)
    looks_back: ClassVar[bool] = False

    density: Choice = "discrete"
    noise: str | None = None
    additive: bool = False
    width: int | None = None
    noise_width: int | None = None
    depth: int = 2
    waves: int = 4
    epochs: int = 10
    batch: int | None = None
    rate: float | None = None
    weight_decay: float | None = None
    least_steps: int = 2000
    patience: int = 5

    def __post_init__(self) -> None:
        require_at_least(self, width=1, noise_width=1, depth=1, waves=0, epochs=1, batch=1, rate=0)
        require_at_least(self, weight_decay=0, least_steps=0, patience=1)
        NoiseSpec(self.noise or "full")  # raises for an invalid noise family before any work
        if self.density == "strang" and not self.additive:
            raise UsageError(
                "strang is for noise that is the same in all states: use it with --set "
                "probe.additive=true, or --density kessler or ozaki"
            )

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        if self.density == "auto":
            return self._resolved(train, validation, seed, watch)
        dt = dt_of(train)
        parts = self._start(train, validation, seed)
        losses = self._losses(parts, dt, self.density)
        [history] = self._minimise(parts, losses, train, validation, seed, watch)
        return Fit(self._settled(parts, 0, dt, self.density), history)

    def _resolved(self, train: Paths, validation: Paths, seed: int, watch: Watch) -> Fit:
        """Fit with increasingly accurate densities until the process is within their range.

        Each fit starts from scratch. The resolution is measured again after each fit, because a
        coarse density underestimates how much the process changes within a step.
        """
        dim = next(iter(train)).states.shape[-1]
        density: Resolved = "euler"
        while True:
            probe = replace(self, density=density)
            fit = probe.fit(train, validation, seed=seed, watch=watch)
            turn = step_jacobian(cast(SDE, fit.law), validation)
            finer = cast(Resolved, density_for(turn, dim, additive=self.additive))
            if not is_finer(finer, density):
                return fit
            density = finer

    def fit_stack(self, tasks: Sequence[FitTask], *, watch: Watch) -> list[Fit]:
        """Fit all tasks in one batch for ``discrete`` and ``euler``, and otherwise in turn."""
        if self.density not in ("discrete", "euler"):
            return [self.fit(t.train, t.validation, seed=t.seed, watch=watch) for t in tasks]
        parts = Perceptrons.joined([self._start(t.train, t.validation, t.seed) for t in tasks])
        train = StackedPaths(tuple(task.train for task in tasks))
        validation = StackedPaths(tuple(task.validation for task in tasks))
        seeds = [task.seed for task in tasks]
        histories = self._minimise(parts, parts.kernel_losses, train, validation, seeds, watch)
        steps = [dt_of(task.train) for task in tasks]
        return [
            Fit(self._settled(parts, index, dt, self.density), history)
            for index, (dt, history) in enumerate(zip(steps, histories, strict=True))
        ]

    def _minimise(
        self,
        parts: Perceptrons,
        losses: Losses,
        train: Paths | StackedPaths,
        validation: Paths | StackedPaths,
        seed: int | Sequence[int],
        watch: Watch,
    ) -> list[tuple[Epoch, ...]]:
        groups = parts.groups(additive=self.additive)
        schedule = self._schedule(self._size(len(parts.features[0].mean)))
        return minimise(groups, losses, train, validation, schedule, seed=seed, watch=watch)

    def _start(self, train: Paths, validation: Paths, seed: int) -> Perceptrons:
        """Untrained networks, equal to zero, around the least-squares solution."""
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        linear = selected(moments, held, Terms(state=True, position=self.density == "discrete"))
        features, size = features_of(moments, self.encoding), self._size(moments.dim)
        noise = StateDependentNoise.stack(
            self._noise(moments.dim),
            features,
            [second_moment(linear, moments)],
            [] if self.additive else [size.noise_width] * self.depth,
            derive(seed, "noise"),
        )
        hidden, smooth = [size.width] * self.depth, self.density != "discrete"
        own = derive(seed, "mean")
        return Perceptrons.start_at(linear, features, noise, hidden, smooth=smooth, seed=own)

    def _losses(self, parts: Perceptrons, dt: float, density: Density) -> Losses:
        """Negative mean log density of the fitted law, per dimension."""
        if density in ("discrete", "euler"):
            return parts.kernel_losses

        def losses(batch: Transitions) -> dict[str, Tensor]:
            sde = self._law(*parts.member(0), dt, density, training(batch.x.shape[-1]))
            law = sde.transition(batch.t, batch.x)
            nats = -law.log_density(batch.following).mean() / batch.x.shape[-1]
            squares = (batch.following - law.mean).square().mean()
            return {"drift": squares[None], "diffusion": nats[None]}

        return losses

    def _settled(self, parts: Perceptrons, index: int, dt: float, density: Density) -> SDE:
        """The law of a trained member; constant noise is stored as such."""
        mean, noise = parts.member(index)
        if not self.additive:
            return self._law(mean, noise, dt, density)
        here = noise(torch.zeros(()).to(noise.base), noise.features.mean).covariance()
        return self._law(mean, ConstantNoise.of(self._noise(len(here)), here), dt, density)

    @property
    def encoding(self) -> int:
        """Frequencies in the encoding of time; none if the coefficients are autonomous."""
        return self.waves if self.density == "discrete" else 0

    def effort(self, dim: int) -> Effort:
        """Baselines get a noise network of the same structure, size and training."""
        size = self._size(dim)
        hidden = (size.noise_width,) * self.depth
        return Effort(self._noise(dim), hidden, self.encoding, self._schedule(size))

    def _noise(self, dim: int) -> NoiseSpec:
        """The noise setting; by default full for diffusions of few dimensions, else diagonal."""
        few = self.density != "discrete" and dim <= FEW
        return NoiseSpec(self.noise or ("full" if few else "diagonal"))

    def _size(self, dim: int) -> Size:
        """The size settings, with defaults for the dimension."""
        asked = {field.name: getattr(self, field.name) for field in fields(Size)}
        usual = size_for(discrete=self.density == "discrete", dim=dim)
        return replace(usual, **{k: v for k, v in asked.items() if v is not None})

    def _schedule(self, size: Size) -> Schedule:
        """The optimisation schedule."""
        most = {"least_steps": self.least_steps, "patience": self.patience}
        return Schedule(self.epochs, size.batch, size.rate, size.weight_decay, **most)

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SDE:
        mean, noise = group_of(dict(tensors), "mean"), group_of(dict(tensors), "noise")
        density = config.get("density", self.density)
        made = NeuralMean.restore(mean, self.encoding)
        spec = self._noise(len(made.features.mean))
        if self.additive:
            return self._law(made, ConstantNoise.restore(spec, noise), config["dt"], density)
        around = StateDependentNoise.restore(noise, self.encoding, spec)
        return self._law(made, around, config["dt"], density)

    def _law(
        self,
        mean: NeuralMean,
        noise: Noise,
        dt: float,
        density: Density,
        precision: Precision = EXACT,
    ) -> SDE:
        diagonal = cast(ConstantNoise | StateDependentNoise, noise).diagonal
        if density in ("discrete", "euler"):
            return KernelSDE(mean, noise, dt=dt, density=density, diagonal=diagonal)
        euler = KernelSDE(mean, noise, dt=dt, density="euler", diagonal=diagonal)
        return CoefficientSDE(euler, density, mean.linear_drift, self.additive, precision)
