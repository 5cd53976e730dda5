"""Processes and their laws by density."""

import torch

from sdelens.laws.expansion import EXACT, Coefficients
from sdelens.laws.scale import FullScale, ScaledCorrelation


def randn(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64)


MATRIX = 0.4 * randn(3, 3) - torch.eye(3).double()


OFFSET = randn(3, seed=1)


HALF = randn(3, 3, seed=2)


UNIT = HALF @ HALF.mT + 0.1 * torch.eye(3).double()


def correlated_process(precision=EXACT):
    """Three dimensions, nonlinear drift, state-dependent noise around a full correlation."""
    root = FullScale(torch.linalg.cholesky(UNIT / 20))
    return Coefficients(
        lambda x: 0.1 * ((x @ MATRIX.mT).sin() + OFFSET),
        lambda x: ScaledCorrelation((1 + 0.2 * x.tanh()), root),
        precision=precision,
    )
