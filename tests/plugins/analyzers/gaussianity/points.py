"""Points and their weights."""

import torch

from sdelens.seeds import generator

DOUBLE = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=DOUBLE)
