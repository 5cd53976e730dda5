"""Multilayer perceptrons as immutable values, single or stacked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import silu

from sdelens.seeds import generator


@dataclass(frozen=True, eq=False)
class Network:
    """A multilayer perceptron with SiLU activations, or a stack of several.

    Weights are ``[in, out]``, or ``[member, in, out]`` in a stack. A stack maps an input ``[batch,
    in]`` to ``[member, batch, out]`` in one batched product.
    """

    # layers differ in size, so the axes have no names
    weights: tuple[Float[Tensor, "... _ _"], ...]
    biases: tuple[Float[Tensor, "... _"], ...]

    @classmethod
    def stack(
        cls,
        sizes: Sequence[int],
        members: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> "Network":
        """A stack of `members` networks with fan-in initialisation and a zero last layer."""
        random = generator(seed, "network")
        weights, biases = [], []
        for into, out in pairwise(sizes):
            noise = torch.randn(members, into, out, generator=random)
            # the variance of a uniform draw on ±1/sqrt(fan-in)
            weights.append(noise / math.sqrt(3 * into))
            biases.append(torch.zeros(members, 1, out))
        weights[-1] = torch.zeros_like(weights[-1])
        return cls(tuple(w.to(device) for w in weights), tuple(b.to(device) for b in biases))

    def __call__(self, x: Float[Tensor, "*batch into"]) -> Float[Tensor, "*stacked out"]:
        *hidden, last = zip(self.weights, self.biases, strict=True)
        for weight, bias in hidden:
            x = silu(_affine(x, weight, bias))
        return _affine(x, *last)

    def member(self, index: int) -> "Network":
        """One member of a stack."""
        return Network(
            tuple(weight[index] for weight in self.weights),
            tuple(bias[index, 0] for bias in self.biases),
        )

    @classmethod
    def joined(cls, stacks: Sequence["Network"]) -> "Network":
        """Concatenate stacks of networks with the same sizes."""
        weights = zip(*(stack.weights for stack in stacks), strict=True)
        biases = zip(*(stack.biases for stack in stacks), strict=True)
        return cls(tuple(map(torch.cat, weights)), tuple(map(torch.cat, biases)))

    def parameters(self) -> list[Tensor]:
        """The trainable tensors."""
        return [*self.weights, *self.biases]

    def tensors(self) -> dict[str, Tensor]:
        """Weights and biases by name."""
        weights = {f"weight{i}": weight for i, weight in enumerate(self.weights)}
        return weights | {f"bias{i}": bias for i, bias in enumerate(self.biases)}

    @classmethod
    def restore(cls, tensors: dict[str, Tensor]) -> "Network":
        """Restore from the result of `tensors`."""
        depth = sum(name.startswith("weight") for name in tensors)
        return cls(
            tuple(tensors[f"weight{i}"] for i in range(depth)),
            tuple(tensors[f"bias{i}"] for i in range(depth)),
        )


def _affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A linear layer; for a stack, one batched product with the bias."""
    if weight.ndim == 2:
        return x @ weight + bias
    if len(weight) == 1 and x.numel() == x.shape[-2] * x.shape[-1]:
        # for a stack of one a plain product is faster than a batched one; squeeze instead of
        # indexing, whose gradient would allocate and fill a tensor of zeros
        bias, weight = bias.squeeze(0), weight.squeeze(0)
        return torch.addmm(bias, x.reshape(x.shape[-2:]), weight).unsqueeze(0)
    return torch.baddbmm(bias, x.expand(len(weight), *x.shape[-2:]), weight)


@dataclass(frozen=True)
class Clock:
    r"""A Fourier encoding of time: :math:`\sin\pi k\tau, \cos\pi k\tau` for k = 1 … `waves`.

    :math:`\tau` runs from 0 to 1 over the fitted times and is clamped outside them.
    """

    first: float
    last: float
    waves: int = 8

    @property
    def size(self) -> int:
        """The number of features."""
        return 2 * self.waves

    def __call__(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch feature"]:
        span = self.last - self.first or 1.0
        phase = ((t - self.first) / span).clamp(0, 1)[..., None] * math.pi
        angles = phase * torch.arange(1, self.waves + 1, dtype=t.dtype, device=t.device)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
