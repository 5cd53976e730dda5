r"""Variance that is log-linear in features of the state, :math:`\log s_i^2 = b_i^\top\phi(x,t)`.

The expected information of every :math:`b_i` is half the Gram matrix of the features (Harvey,
"Estimating regression models with multiplicative heteroscedasticity", 1976). One Cholesky factor
serves the scoring steps of all coordinates, and a step is one pass over the data.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.estimation.noise import NoiseFeatures
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.law import Mean, Noise, group_of, prefixed
from sdelens.laws.scale import LOG_2PI, DiagonalScale, Scale, ScaledCorrelation
from sdelens.paths.trajectories import Trajectories

CHUNK = 8192
SCORINGS = 100
WORTH = 1e-3
"""Scoring stops if twice the gain in log likelihood is smaller; one parameter is worth about 1."""


@dataclass(frozen=True, eq=False)
class Residuals:
    """Chunks of features, with a leading one, and residuals of all transitions, in float64."""

    paths: Iterable[Trajectories]
    features: NoiseFeatures
    mean: Mean

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for block in self.paths:
            flat = block.flat()
            fields = (flat.t.double(), flat.x.double(), flat.token, flat.following.double())
            parts = zip(*(torch.split(field, CHUNK) for field in fields), strict=True)
            for t, x, token, following in parts:
                yield with_one(self.features(t, x)), following - self.mean(t, x, token)

    def gram(self) -> Float[Tensor, "feature feature"]:
        r"""Gram matrix :math:`\sum\phi\phi^\top`; its first entry is the number of transitions."""
        return torch.stack([phi.mT @ phi for phi, _ in self]).sum(0)


def with_one(features: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch more"]:
    """Prepend a one to the features, for the intercept."""
    return torch.cat([torch.ones_like(features[..., :1]), features], dim=-1)


@dataclass(frozen=True, eq=False)
class LogLinearNoise(Noise):
    """Noise with log-linear variances and an optional constant correlation.

    Log variances are clamped to their range in training, so the noise far from the data does not
    grow exponentially with the distance.
    """

    features: NoiseFeatures
    weight: Float[Tensor, "feature dim"]
    """Coefficients b of each coordinate; the first row contains the intercepts."""
    least: Float[Tensor, " dim"]
    most: Float[Tensor, " dim"]
    correlation: ConstantNoise | None = None

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        std = (0.5 * self.log_variance(with_one(self.features(t, x)))).exp()
        if self.correlation is None:
            return DiagonalScale(std)
        return ScaledCorrelation(std, self.correlation.scale)

    def log_variance(self, phi: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch dim"]:
        """Log variance of each coordinate, clamped to its range in training."""
        linear: Tensor = phi @ self.weight
        return linear.clamp(self.least, self.most)

    def nats(self, residuals: Residuals) -> float:
        """Negative log likelihood of the residuals under the diagonal scale, in nats."""
        total = 0.0
        for phi, residual in residuals:
            log_variance = self.log_variance(phi)
            squares = residual.square() * (-log_variance).exp()
            total += 0.5 * float((log_variance + squares + LOG_2PI).sum())
        return total

    def correlated(self, spec: NoiseSpec, residuals: Residuals) -> "LogLinearNoise":
        """The same scale with the correlation of the standardised residuals."""
        white = (r * (-0.5 * self.log_variance(phi)).exp() for phi, r in residuals)
        moment = torch.stack([z.mT @ z for z in white]).sum(0) / residuals.gram()[0, 0]
        around = ConstantNoise.of(spec, moment)
        if around.diagonal:
            return self
        return LogLinearNoise(self.features, self.weight, self.least, self.most, around)

    def to(self, dtype: torch.dtype) -> "LogLinearNoise":
        """Convert the coefficients to a dtype."""
        parts = (self.weight.to(dtype), self.least.to(dtype), self.most.to(dtype))
        return LogLinearNoise(self.features, *parts, self.correlation)

    def tensors(self) -> dict[str, Tensor]:
        own = {"weight": self.weight, "least": self.least, "most": self.most}
        around = {} if self.correlation is None else self.correlation.tensors()
        return own | prefixed(features=self.features.tensors(), correlation=around)

    @classmethod
    def restore(cls, tensors: dict[str, Tensor], waves: int, spec: NoiseSpec) -> "LogLinearNoise":
        """Restore from the result of `tensors`."""
        around = group_of(tensors, "correlation")
        return cls(
            NoiseFeatures.restore(group_of(tensors, "features"), waves),
            tensors["weight"],
            tensors["least"],
            tensors["most"],
            ConstantNoise.restore(spec, around) if around else None,
        )


def constant_variance(
    features: NoiseFeatures, variance: Float[Tensor, " dim"]
) -> Float[Tensor, "feature dim"]:
    """Coefficients of a variance that is the same in every state."""
    weight = variance.new_zeros(1 + features.size, len(variance))
    weight[0] = variance.log()
    return weight


def log_linear_noise(
    residuals: Residuals,
    start: Float[Tensor, "feature dim"],
    ridge: float,
) -> LogLinearNoise:
    r"""Penalised maximum likelihood by Fisher scoring, all coordinates at once.

    The penalty is :math:`\tfrac14 N\,\mathrm{ridge}\,\|b\|^2` on all but the intercept, which is
    `ridge` times the information of a feature with unit variance. If a step lowers the likelihood
    of a coordinate, it is halved.
    """
    gram = residuals.gram()
    penalty = torch.full_like(gram[:, :1], ridge * float(gram[0, 0]))
    penalty[0] = 0
    root = torch.linalg.cholesky((gram + penalty[:, 0].diag()) / 2)
    weight, step = start, torch.zeros_like(start)
    best = torch.full_like(start[0], -torch.inf)
    for _ in range(SCORINGS):
        value, gradient = _likelihood(residuals, weight + step, penalty)
        better = value >= best
        best = value.where(better, best)
        weight = (weight + step).where(better, weight)
        step = torch.cholesky_solve(gradient, root).where(better, step / 2)
        # a step without a better value is too long, however short it is
        if (better & ((gradient * step).sum(0) < WORTH)).all():
            break
    predicted = [(phi @ weight).aminmax(dim=0) for phi, _ in residuals]
    least = torch.stack([low for low, _ in predicted]).amin(0)
    most = torch.stack([high for _, high in predicted]).amax(0)
    return LogLinearNoise(residuals.features, weight, least, most)


def _likelihood(
    residuals: Residuals, weight: Float[Tensor, "feature dim"], penalty: Float[Tensor, "feature 1"]
) -> tuple[Float[Tensor, " dim"], Float[Tensor, "feature dim"]]:
    """Penalised log likelihood of each coordinate, up to a constant, and its gradient."""
    value = -0.25 * (penalty * weight.square()).sum(0)
    gradient = -0.5 * penalty * weight
    for phi, residual in residuals:
        linear = phi @ weight
        squares = residual.square() * (-linear).exp()
        value = value - 0.5 * (linear + squares).sum(0)
        gradient = gradient + 0.5 * phi.mT @ (squares - 1)
    return value, gradient
