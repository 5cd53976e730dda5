"""Repetition in texts, measured by distinct n-grams."""

import torch
from jaxtyping import Int
from torch import Tensor


def distinct_n(words: Int[Tensor, " step"], length: int) -> float:
    """The number of distinct n-grams of `length` tokens over the number of all (distinct-n).

    Li et al., "A diversity-promoting objective function for neural conversation models" (2016).

    >>> distinct_n(torch.tensor([1, 2, 1, 2, 1]), 2)
    0.5
    """
    runs = words.unfold(0, length, 1) if len(words) >= length else words[:0, None]
    return len(torch.unique(runs, dim=0)) / len(runs) if len(runs) else float("nan")
