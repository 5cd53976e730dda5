"""Simple laws, simulated paths, and the rows that tests of the residuals see."""

import torch

from sdelens.estimation.additive import AdditiveMean
from sdelens.evidence.lagged import lagged
from sdelens.evidence.nested import Sides
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def kernel(matrix, std):
    """X' = A x + noise."""
    dim = len(matrix)
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(matrix, torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim))
    return KernelSDE(mean, ConstantNoise.independent(torch.full((dim,), std)))


def autoregression(paths, length, seed, *coefficients, dim=1):
    """X' = a X + b X_before + N(0, 1), after 50 steps."""
    noise = torch.randn(length + 50, paths, dim, generator=generator(seed))
    states = list(noise[:2])
    for kick in noise[2:]:
        states.append(kick + sum(c * states[-k] for k, c in enumerate(coefficients, start=1)))
    return torch.stack(states[50:], dim=1)


def sides(law, states, at=None):
    """Three fifths of the paths train, one validates, one is held out."""
    fifth = len(states) // 5
    parts = (states[: 3 * fifth], states[3 * fifth : 4 * fifth], states[4 * fifth :])
    found = [
        lagged(law, Trajectories.from_states(part, 1.0), torch.arange(len(part)), at=at)
        for part in parts
    ]
    return Sides(*found, groups=3 * fifth)
