r"""Lyapunov drift conditions: whether a function of the state decreases on average in one step.

For :math:`V(x) = (x-c)^\top P (x-c)` and a step with mean m and covariance S,

.. math:: KV(x) = E[V(X')\mid x] = V(m(x)) + \mathrm{tr}(P\,S(x)).

A drift condition :math:`KV \le (1-a)V + b` with :math:`0 < a \le 1` bounds V on average, and V
decreases wherever :math:`V > b/a` (Meyn and Tweedie, "Markov Chains and Stochastic Stability",
chapter 15). The continuous-time generator
:math:`LV = 2(x-c)^\top P\mu + \mathrm{tr}(P\sigma\sigma^\top)` lacks the term
:math:`\mu^\top P\mu\,dt`: for the diverging x' = -1.1 x + noise, LV < 0 far from the origin.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor

from sdelens.dynamics.step_map import StepMap

ROUNDING = 1e-5
"""Relative rounding error of V for float32 states."""


def lyapunov_matrix(
    step: Float[Tensor, "dim dim"], cost: Float[Tensor, "dim dim"]
) -> Float[Tensor, "dim dim"] | None:
    r"""P with :math:`A^\top P A - P = -Q`: the sum of :math:`(A^k)^\top Q A^k`.

    None where there is no positive one: an eigenvalue of A is 1 or more in modulus.
    """
    if float(torch.linalg.eigvals(step.double()).abs().max()) >= 1:
        return None
    solved = solve_discrete_lyapunov(step.mT.double().cpu().numpy(), cost.double().cpu().numpy())
    total = torch.from_numpy(solved).to(step.device)
    return (total + total.mT) / 2


@dataclass(frozen=True, eq=False)
class Quadratic:
    """The function V, in float64."""

    centre: Float[Tensor, " dim"]
    matrix: Float[Tensor, "dim dim"]

    def __call__(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        away = x.double() - self.centre
        return ((away @ self.matrix) * away).sum(-1)

    def after(self, step: StepMap, x: Float[Tensor, "state dim"]) -> Float[Tensor, " state"]:
        """KV, the expectation of V one step later."""
        return self(step.mean(x)) + step.scale(x).trace(self.matrix)

    def generator(self, step: StepMap, x: Float[Tensor, "state dim"]) -> Float[Tensor, " state"]:
        """LV per unit of time, from the drift and covariance of the step per unit of time."""
        away, moved = x.double() - self.centre, (step.mean(x) - x).double()
        pull = 2 * ((away @ self.matrix) * moved).sum(-1)
        return (pull + step.scale(x).trace(self.matrix)) / step.dt

    def contraction(
        self, step: StepMap, x: Float[Tensor, "pair dim"], y: Float[Tensor, "pair dim"]
    ) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
        """Expected squared distance of two states after and before a step with the same noise."""
        here = Quadratic(torch.zeros_like(self.centre), self.matrix)
        noise = step.scale(x).gap(step.scale(y), self.matrix)
        return here(step.mean(x) - step.mean(y)) + noise, here(x - y)


@dataclass(frozen=True)
class DriftCondition:
    """``KV <= (1 - rate) V + offset``."""

    rate: float
    offset: float

    @property
    def level(self) -> float:
        """b/a, above which V decreases on average; infinite if the rate is zero."""
        return self.offset / self.rate if self.rate > 0 else math.inf

    @classmethod
    def of(cls, now: Float[Tensor, " state"], after: Float[Tensor, " state"]) -> "DriftCondition":
        """A condition that holds at all given states, from their V and KV.

        The rate is half that of the least-squares line of KV on V, which leaves room for scatter
        about the line; it is 0 if the slope is 1 or more.
        """
        away = now - now.mean()
        slope = float((away * after).sum() / away.square().sum().clamp(min=1e-300))
        rate = min(max((1 - slope) / 2, 0.0), 1.0)
        return cls(rate, float((after - (1 - rate) * now).max()))

    def broken(
        self, now: Float[Tensor, " state"], after: Float[Tensor, " state"]
    ) -> Float[Tensor, " state"]:
        """1 where the condition is violated by more than rounding."""
        return (after > (1 + ROUNDING) * ((1 - self.rate) * now + self.offset)).double()

    def beyond(self, now: Float[Tensor, " state"]) -> Float[Tensor, " state"]:
        """1 where V is above the level."""
        return (now > self.level).double()
