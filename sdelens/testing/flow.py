r"""Linear systems :math:`dX = AX\,dt + \sigma\,dW`: exact one-step laws and sample paths."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.linalg import solve_discrete_lyapunov
from torch import Tensor

from sdelens.laws.matrices import cholesky
from sdelens.laws.scale import FullScale
from sdelens.testing.system import normals


@dataclass(frozen=True, eq=False)
class Flow:
    r"""One step: :math:`X' = FX + \varepsilon` with :math:`\varepsilon \sim N(0, S)`."""

    matrix: Float[Tensor, "dim dim"]
    covariance: Float[Tensor, "dim dim"]

    @classmethod
    def of(
        cls, rate: Float[Tensor, "dim dim"], unit: Float[Tensor, "dim dim"], dt: float
    ) -> "Flow":
        r"""The flow of A = `rate` and :math:`\sigma\sigma^\top` = `unit` over dt.

        Both come from one exponential of a block matrix (Van Loan, "Computing integrals involving
        the matrix exponential", 1978).
        """
        dim = len(rate)
        block = torch.cat(
            [torch.cat([-rate, unit], 1), torch.cat([torch.zeros_like(rate), rate.mT], 1)]
        )
        exponential = torch.linalg.matrix_exp(block * dt)
        matrix = exponential[dim:, dim:].mT.contiguous()
        covariance = matrix @ exponential[:dim, dim:]
        return cls(matrix, (covariance + covariance.mT) / 2)

    def stationary(self) -> Float[Tensor, "dim dim"]:
        """The stationary covariance P = F P F' + S."""
        return torch.from_numpy(
            solve_discrete_lyapunov(self.matrix.numpy(), self.covariance.numpy())
        )

    def paths(self, count: int, length: int, random: torch.Generator) -> Tensor:
        """Stationary paths [path, time, dim] around zero."""
        dim = len(self.matrix)
        root = cholesky(self.covariance)
        noise = normals(random, length, count, dim)
        states = [noise[0] @ cholesky(self.stationary()).mT]
        for step in noise[1:]:
            states.append(states[-1] @ self.matrix.mT + step @ root.mT)
        return torch.stack(states, dim=1)

    def log_density(self, x: Tensor, following: Tensor) -> Tensor:
        """Log density of the state a step after x, in nats."""
        residual = following.double() - x.double() @ self.matrix.mT
        return FullScale(cholesky(self.covariance)).log_density(residual)
