r"""Strang splitting: the law of a step whose drift has a linear and a nonlinear part."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.laws.densities import require_narrow
from sdelens.laws.expansion import Coefficients
from sdelens.laws.jets import Jets
from sdelens.laws.law import Gaussian, Predictive
from sdelens.laws.matrices import integral_of_exponential, noise_of_step
from sdelens.laws.scale import FullScale, Scale


@dataclass(frozen=True, eq=False)
class Linear:
    """The linear part of a drift of one step, ``matrix @ x + offset``."""

    matrix: Float[Tensor, "dim dim"]
    offset: Float[Tensor, " dim"]

    def __call__(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return x @ self.matrix.mT + self.offset


@dataclass(frozen=True, eq=False)
class Composed(Predictive):
    """Distribution of F(Z), where Z is normal and F is the flow of an ODE over half a step.

    Mean and covariance are accurate to second order in the step; the density uses the inverse
    flow.
    """

    inner: Gaussian
    rate: Callable[[Tensor], Tensor]
    jets: Jets

    @property
    def mean(self) -> Float[Tensor, "*batch dim"]:
        _, second = self.jets(self._ahead, self.inner.mean, self._columns())
        return self._ahead(self.inner.mean) + 0.5 * second.sum(0)

    def covariance(self) -> Scale:
        first, _ = self.jets(self._ahead, self.inner.mean, self._columns())
        columns = first.movedim(0, -1)
        return FullScale(torch.linalg.cholesky(columns @ columns.mT))

    def log_density(self, following: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        columns = self._columns()
        moved, _ = self.jets(self._behind, following, columns)
        volume = _log_volume(moved) - _log_volume(columns)
        return self.inner.log_density(self._behind(following)) + volume

    def sample(self, seed: int) -> Float[Tensor, "*batch dim"]:
        return self._ahead(self.inner.sample(seed))

    def _ahead(self, y: Tensor) -> Tensor:
        return runge_kutta(self.rate, y, 0.5)

    def _behind(self, y: Tensor) -> Tensor:
        return runge_kutta(self.rate, y, -0.5)

    def _columns(self) -> Float[Tensor, "k *batch dim"]:
        """Columns of a root of the covariance, the directions of the derivatives."""
        centre = self.inner.mean
        root = self.inner.scale.lower().expand(*centre.shape, centre.shape[-1])
        return root.movedim(-1, 0)


def _log_volume(columns: Float[Tensor, "k *batch dim"]) -> Float[Tensor, "*batch"]:
    """Log volume of the parallelepiped spanned by the columns."""
    volume: Tensor = torch.linalg.det(columns.movedim(0, -1)).abs().log()
    return volume


def strang(coefficients: Coefficients, linear: Linear, x: Float[Tensor, "*batch dim"]) -> Composed:
    r"""Strang splitting of the drift into a linear and a nonlinear part, for additive noise.

    With f the flow of the nonlinear part over half a step and :math:`N(\mu(y), \Omega)` the exact
    law of the linear SDE, :math:`\log p = \log N(f^{-1}(x'); \mu(f(x)), \Omega) + \log|\det
    Df^{-1}(x')|`: Pilipovic, Samson and Ditlevsen (2024).
    """
    require_narrow("strang", x)
    if not coefficients.additive:
        raise UsageError(
            "strang requires noise that is the same in every state, but this noise depends on the "
            "state: use constant noise (--set probe.additive=true), or --density kessler or ozaki"
        )
    rate = lambda y: coefficients.drift(y) - linear(y)
    matrix = torch.linalg.matrix_exp(linear.matrix)
    offset = integral_of_exponential(linear.matrix, 1.0) @ linear.offset
    unit = coefficients.noise(x).covariance().reshape(-1, *linear.matrix.shape)[0]
    noise = noise_of_step(linear.matrix, unit)
    centre = runge_kutta(rate, x, 0.5) @ matrix.mT + offset
    inner = Gaussian(centre, FullScale(torch.linalg.cholesky(noise)))
    return Composed(inner, rate, coefficients.precision.jets)


def runge_kutta(rate: Callable[[Tensor], Tensor], y: Tensor, h: float) -> Tensor:
    """Solution of dy = rate(y) dt after time h, by one classical Runge-Kutta step."""
    one = rate(y)
    two = rate(y + h / 2 * one)
    three = rate(y + h / 2 * two)
    four = rate(y + h * three)
    return y + h / 6 * (one + 2 * two + 2 * three + four)
