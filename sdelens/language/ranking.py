"""How far two rankings of the same tokens agree, and what chance would give."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.seeds import generator

PAIRS = 4_000_000
"""Pairs of items that are compared together."""


def kendall(
    first: Float[Tensor, "*batch item"],
    second: Float[Tensor, "*batch item"],
    seen: Bool[Tensor, "*batch item"],
) -> Float[Tensor, "*batch"]:
    r"""Kendall's :math:`\tau_b` (1945) over the items seen; NaN where one ranking has no order.

    The number of pairs in the same order less that of pairs in opposite order, over
    :math:`\sqrt{n_1 n_2}`, the pairs that are no ties in each.
    """
    one, other = _orders(first, seen), _orders(second, seen)
    pairs = (one != 0).sum((-2, -1)) * (other != 0).sum((-2, -1))
    agreed: Tensor = (one * other).sum((-2, -1)) / pairs.double().sqrt()
    return agreed


def _orders(
    values: Float[Tensor, "*batch item"], seen: Bool[Tensor, "*batch item"]
) -> Float[Tensor, "*batch item item"]:
    """1, 0 or -1 for each pair of items seen."""
    both = seen[..., :, None] & seen[..., None, :]
    signs = (values[..., :, None] - values[..., None, :]).double().sign()
    return signs.masked_fill(~both, 0.0)


def by_chance(
    first: Float[Tensor, "text item"],
    second: Float[Tensor, "text item"],
    seen: Bool[Tensor, "text item"],
    *,
    draws: int,
    seed: int,
) -> Float[Tensor, " draw"]:
    """The mean of tau over texts when the first ranking is shuffled within each text."""
    left = seen.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    first, second, seen = (values.gather(1, left) for values in (first, second, seen))
    random = generator(seed, "permutations")
    together = max(1, PAIRS // (seen.numel() * seen.shape[1]))
    found = []
    for start in range(0, draws, together):
        count = min(together, draws - start)
        order = _shuffled(seen.expand(count, *seen.shape), random)
        moved = first.expand(order.shape).gather(-1, order)
        found.append(kendall(moved, second.expand(order.shape), seen.expand(order.shape)))
    return torch.cat(found).nanmean(-1)


def _shuffled(
    seen: Bool[Tensor, "draw text item"], random: torch.Generator
) -> Int[Tensor, "draw text item"]:
    """Orders of the items, those seen (which come first) among themselves."""
    keys = torch.rand(seen.shape, generator=random)
    return keys.masked_fill(~seen, 2.0).argsort(dim=-1)


def chance_of(value: float, draws: Float[Tensor, " draw"]) -> float:
    """The two-sided p-value of a mean tau among shuffled ones, the own order counted as one."""
    return float((1 + (draws.abs() >= abs(value)).sum()) / (1 + len(draws)))
