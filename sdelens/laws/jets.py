r"""Directional derivatives of functions of a batch of states, in forward mode.

Functions map states ``[*batch dim]`` to values ``[*batch out]`` row by row, so one tangent per row
costs about as much as the function itself (``torch.func.jvp``).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vjp, vmap

from sdelens.seeds import generator

Function = Callable[[Tensor], Tensor]
Jets = Callable[[Function, Tensor, Tensor], tuple[Tensor, Tensor]]

ROWS = 2**21
"""Maximum number of states times directions differentiated at once; it bounds the memory."""


def jet(
    function: Function, x: Float[Tensor, "*batch dim"], directions: Float[Tensor, "k *batch dim"]
) -> tuple[Float[Tensor, "k *batch out"], Float[Tensor, "k *batch out"]]:
    r"""First and second derivatives :math:`Df[v]` and :math:`D^2f[v, v]` along each direction."""

    def along(v: Tensor) -> tuple[Tensor, Tensor]:
        (_, first), (_, second) = pushed(lambda y: pushed(function, y, v), x, v)
        return first, second

    found: tuple[Tensor, Tensor] = vmap(along, chunk_size=_chunk(x))(directions)
    return found


def _chunk(x: Tensor) -> int:
    """Number of directions differentiated at once."""
    return max(1, ROWS // max(1, x.shape[:-1].numel()))


def differences(
    function: Function, x: Float[Tensor, "*batch dim"], directions: Float[Tensor, "k *batch dim"]
) -> tuple[Float[Tensor, "k *batch out"], Float[Tensor, "k *batch out"]]:
    """Approximate `jet` by central differences over a quarter of each direction.

    Used for training: it needs one plain call on ``2k + 1`` states instead of nested forward mode,
    and takes a tenth to a third of the time. If the directions are the noise of one step, its
    error has a higher order in the step than the error of the densities.
    """
    part = 0.25
    moved = torch.cat([x[None], x + part * directions, x - part * directions])
    value, (ahead, behind) = (found := function(moved))[0], found[1:].chunk(2)
    return (ahead - behind) / (2 * part), (ahead + behind - 2 * value) / part**2


def pushed(function: Callable[[Tensor], Any], x: Tensor, v: Tensor) -> tuple[Any, Any]:
    """Value of a function at x and its derivative along v; the output may be any pytree."""
    # without grad mode torch uses kernels that have no second derivative (silu, for example);
    # expanded tensors share memory between states, so they cannot have separate tangents
    with torch.enable_grad():
        found: tuple[Any, Any] = jvp(function, (x.contiguous(),), (v,))  # type: ignore[assignment]
    return found


class Jacobian(ABC):
    """Jacobian at each state of a batch, for a function from dim to dim coordinates."""

    @abstractmethod
    def times(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """The product J v."""

    @abstractmethod
    def trace(self) -> Float[Tensor, "*batch"]:
        """The trace of J, which is the divergence of the function."""

    @abstractmethod
    def matrix(self) -> Float[Tensor, "*batch dim dim"]:
        """J as a matrix."""

    def flow(self, h: float, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        r""":math:`e^{hJ}v` by its series to order 6.

        The error is about :math:`|hJ|^7/7!`, or 2e-7 at :math:`|hJ| = 0.3`.
        """
        total = term = v
        for order in range(1, 7):
            term = self.times(term)
            total = total + term * (h**order / math.factorial(order))
        return total


@dataclass(frozen=True, eq=False)
class DenseJacobian(Jacobian):
    """A Jacobian stored as a matrix."""

    entries: Float[Tensor, "*batch dim dim"]

    def times(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return (self.entries @ v[..., None])[..., 0]

    def trace(self) -> Float[Tensor, "*batch"]:
        return self.entries.diagonal(dim1=-2, dim2=-1).sum(-1)

    def matrix(self) -> Float[Tensor, "*batch dim dim"]:
        return self.entries


@dataclass(frozen=True, eq=False)
class FixedJacobian(Jacobian):
    """A Jacobian detached from the autograd graph."""

    free: Jacobian

    def times(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.free.times(v.detach()).detach()

    def trace(self) -> Float[Tensor, "*batch"]:
        return self.free.trace().detach()

    def matrix(self) -> Float[Tensor, "*batch dim dim"]:
        return self.free.matrix().detach()


@dataclass(frozen=True, eq=False)
class ImplicitJacobian(Jacobian):
    """A Jacobian given by its products with vectors; its trace is estimated (Hutchinson 1989)."""

    function: Function
    x: Float[Tensor, "*batch dim"]
    signs: Float[Tensor, "k *batch dim"]

    def times(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        product: Tensor = pushed(self.function, self.x, v)[1]
        return product

    def traces(self) -> Float[Tensor, "k *batch"]:
        """Independent unbiased estimates of the trace."""
        products: Tensor = vmap(self.times)(self.signs)
        return (products * self.signs).sum(-1)

    def trace(self) -> Float[Tensor, "*batch"]:
        return self.traces().mean(0)

    def trace_error(self) -> Float[Tensor, "*batch"]:
        """The standard error of `trace`."""
        spread: Tensor = self.traces().std(0)
        return spread / math.sqrt(len(self.signs))

    def matrix(self) -> Float[Tensor, "*batch dim dim"]:
        return jacobian(self.function, self.x)


def jacobian(
    function: Function, x: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch out dim"]:
    """The Jacobian matrix, computed with one product per coordinate."""
    dim = x.shape[-1]
    basis = torch.eye(dim, dtype=x.dtype, device=x.device).view(dim, *[1] * (x.ndim - 1), dim)
    along = vmap(lambda v: pushed(function, x, v)[1], chunk_size=_chunk(x))
    columns: Tensor = along(basis.expand(dim, *x.shape))
    return columns.movedim(0, -1)


def signs(count: int, like: Float[Tensor, "*shape"]) -> Float[Tensor, "count *shape"]:
    """Independent random signs; every call returns the same ones."""
    random = generator(0, "signs", device=like.device)
    shape = (count, *like.shape)
    coins = torch.randint(2, shape, generator=random, device=like.device)
    return coins.to(like.dtype) * 2 - 1


def spectral_norms(
    function: Function, x: Float[Tensor, "batch dim"], iterations: int = 12
) -> Float[Tensor, " batch"]:
    """Largest singular value of the Jacobian at each state, from below by power iteration."""
    v: Tensor = torch.nn.functional.normalize(signs(1, x)[0], dim=-1)
    size = torch.zeros_like(x[:, 0])
    back = vjp(function, x)[1]
    for _ in range(iterations):
        _, forward = pushed(function, x, v)
        (v,) = back(forward)
        size = v.norm(dim=-1).sqrt()
        v = torch.nn.functional.normalize(v, dim=-1)
    return size
