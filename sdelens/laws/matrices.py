r"""Matrix functions for recovering a linear SDE from its law over one step.

The mean of :math:`dX = (AX + b)\,dt + \sigma dW` after a step is affine in x with the matrix
:math:`e^{A dt}`, so A is a matrix logarithm, and b and :math:`\sigma\sigma^\top` solve linear
equations.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.seeds import generator


def real_logarithm(step: Float[Tensor, "dim dim"]) -> Float[Tensor, "dim dim"]:
    """Principal logarithm of a one-step matrix; raises `BadNumbers` if it is not real."""
    # scipy.linalg.logm agrees to 1e-14 but does not return the eigenvalues needed for the check,
    # runs only on the CPU, and is no better for defective matrices
    values, vectors = eigenbasis(step)
    negative = (values.imag == 0) & (values.real <= 0)
    if negative.any():
        raise BadNumbers(
            "no linear SDE has this one-step matrix: an exact density needs a real logarithm, but "
            f"the matrix has the eigenvalue {float(values.real[negative][0]):.3g}; use "
            "density=discrete, or observe the process more often"
        )
    logarithm: Tensor = (vectors * values.log() @ torch.linalg.inv(vectors)).real
    error = (torch.linalg.matrix_exp(logarithm) - step).abs().max()
    if not error <= 1e-5 * step.abs().max():
        raise BadNumbers(
            "no linear SDE could be recovered from this one-step matrix: its logarithm is too "
            "ill-conditioned; use density=discrete, or a basis of fewer directions such as pca:8"
        )
    return logarithm


def eigenbasis(matrix: Float[Tensor, "dim dim"]) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors, after a perturbation of 1e-8 if the matrix is defective.

    A defective matrix has no basis of eigenvectors, but almost all matrices near it do: Davies,
    "Approximate diagonalization" (2007). 1e-8 balances the perturbation against rounding errors.
    """
    values, vectors = torch.linalg.eig(matrix)
    if torch.linalg.cond(vectors) < 1e6:
        return values, vectors
    random = generator(0, "eigenbasis", device=matrix.device)
    nudge = torch.randn(matrix.shape, generator=random, dtype=matrix.dtype, device=matrix.device)
    values, vectors = torch.linalg.eig(matrix + 1e-8 * matrix.norm() * nudge / nudge.norm())
    return values, vectors


def integral_of_exponential(matrix: Float[Tensor, "dim dim"], dt: float) -> Tensor:
    r"""The integral :math:`\int_0^{dt} e^{As} ds`; A may be singular (Van Loan 1978)."""
    dim = len(matrix)
    block = matrix.new_zeros(2 * dim, 2 * dim)
    block[:dim, :dim] = matrix * dt
    block[:dim, dim:].diagonal().fill_(dt)
    exponential: Tensor = torch.linalg.matrix_exp(block)
    return exponential[:dim, dim:]


def noise_of_step(
    rate: Float[Tensor, "*batch dim dim"], noise: Float[Tensor, "*batch dim dim"]
) -> Float[Tensor, "*batch dim dim"]:
    r"""Covariance of one step, :math:`\int_0^1 e^{As} a\, e^{A^\top s} ds` (Van Loan 1978)."""
    dim = rate.shape[-1]
    upper = torch.cat([-rate, noise], -1)
    lower = torch.cat([torch.zeros_like(rate), rate.mT], -1)
    exponential = torch.linalg.matrix_exp(torch.cat([upper, lower], -2))
    total: Tensor = exponential[..., dim:, dim:].mT @ exponential[..., :dim, dim:]
    return (total + total.mT) / 2


def diffusion_from_step(
    matrix: Float[Tensor, "dim dim"], covariance: Float[Tensor, "dim dim"], dt: float
) -> Float[Tensor, "dim dim"]:
    r"""Diffusion :math:`a=\sigma\sigma^\top` whose exact covariance over dt is `covariance`.

    The covariance S solves :math:`AS + SA^\top = e^{A dt} a\, e^{A^\top dt} - a`, linear in a: in
    the eigenbasis of A, S is a times :math:`(e^{(\lambda_i+\lambda_j)dt}-1)/(\lambda_i+\lambda_j)`
    elementwise. Raises `BadNumbers` if no positive semi-definite a exists.
    """
    # scipy.linalg.solve_discrete_lyapunov has no solution if two eigenvalues of A sum to zero, as
    # in a random walk; the gain then has the limit dt
    values, vectors = eigenbasis(matrix)
    sums = values[:, None] + values
    none = sums == 0
    gains = torch.where(none, dt, torch.expm1(sums * dt) / torch.where(none, 1, sums))
    inverse = torch.linalg.inv(vectors)

    def solved(of_step: Tensor) -> Tensor:
        inside = inverse @ of_step.to(values.dtype) @ inverse.mT
        back: Tensor = (vectors @ (inside / gains) @ vectors.mT).real
        return back

    unit = solved(covariance)
    if torch.linalg.cond(vectors) > 1e3:  # one step of iterative refinement
        unit = unit + solved(covariance - noise_of_step(matrix * dt, unit * dt))
    levels, axes = torch.linalg.eigh((unit + unit.mT) / 2)
    # a diffusion without noise in some direction has a level of 0, up to rounding
    if not levels[0] >= -1e-6 * levels[-1]:
        raise BadNumbers(
            "no linear SDE has this one-step law: its diffusion would have the negative "
            f"eigenvalue {float(levels[0]):.3g}; use density=discrete"
        )
    positive: Tensor = axes * levels.clamp(min=1e-9 * float(levels[-1])) @ axes.mT
    return positive


def cholesky(covariance: Float[Tensor, "*batch dim dim"]) -> Float[Tensor, "*batch dim dim"]:
    """Lower Cholesky factor; raises `BadNumbers` if a matrix is not positive definite."""
    root: Tensor
    root, info = torch.linalg.cholesky_ex(covariance)
    if info.any() or not root.isfinite().all():
        minor = int(info.max())
        raise BadNumbers(
            f"a covariance must be positive definite, but its leading minor {minor} is not: "
            "are some coordinates constant or copies of others? A basis such as pca:K drops them"
        )
    return root
