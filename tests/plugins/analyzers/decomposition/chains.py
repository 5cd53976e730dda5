"""Chains whose motion has known parts."""

from dataclasses import replace

import torch

from sdelens.branching.prefixes import Prefixes
from sdelens.estimation.noise import ConstantNoise
from tests.language import kernel


def linear(decay):
    """A law x' = decay x in the states' own coordinates."""
    return kernel(decay, 1, ConstantNoise.independent(torch.ones(1)))


def stationary(texts):
    """Their prefixes but for the first few, which know how every text begins."""
    prefixes = Prefixes.all_of(texts)
    return replace(prefixes, recorded=prefixes.recorded + 6)


TEXTS = 6
