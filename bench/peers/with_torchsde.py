"""torchsde: an SDE trained through the solver on the energy score of one-step samples.

The energy score E|Y - x'| - E|Y - Y'|/2 is strictly proper (Gneiting and Raftery, "Strictly proper
scoring rules, prediction, and estimation", 2007). It needs only samples, through which the
gradient is propagated.
"""

import math

import torch
import torchsde
from torch import nn
from worker import work

SAMPLES, BATCH, STEPS, SOLVER_STEPS = 8, 256, 1500, 2


class Equation(nn.Module):
    """Affine drift and constant noise matrix for degree 1; otherwise two perceptrons."""

    sde_type = "ito"
    noise_type = "general"

    def __init__(self, dim, degree):
        super().__init__()
        self.dim = dim
        self.drift = nn.Linear(dim, dim) if degree == 1 else _perceptron(dim, dim)
        self.noise = None if degree == 1 else _perceptron(dim, dim * dim)
        self.root = nn.Parameter(torch.eye(dim))

    def f(self, t, y):
        """Drift at states y."""
        return self.drift(y)

    def g(self, t, y):
        """Noise matrices at states y."""
        varied = 0 if self.noise is None else self.noise(y).view(-1, self.dim, self.dim)
        return (self.root + varied).expand(len(y), -1, -1)


def _perceptron(inside, outside):
    return nn.Sequential(
        nn.Linear(inside, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outside)
    )


def solver(states, dt, degree):
    """Adam with 1,500 steps of 256 transitions and 8 samples each; Euler with two steps per dt."""
    states = torch.from_numpy(states)
    mean, std = states.mean(0), states.std(0)
    z = (states - mean) / std
    random = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    equation = Equation(z.shape[1], degree)
    optimiser = torch.optim.Adam(equation.parameters(), lr=1e-2)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    for step in range(STEPS):
        index = torch.randint(len(z) - 1, (BATCH,), generator=random)
        loss = _energy(equation, z[index], z[index + 1], dt, step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    return _fitted(equation, mean, std)


def _energy(equation, x, following, dt, seed):
    start = x.repeat(SAMPLES, 1)
    path = torchsde.BrownianInterval(
        t0=0.0, t1=dt, size=start.shape, dtype=start.dtype, entropy=seed
    )
    ends = torchsde.sdeint(
        equation, start, torch.tensor([0.0, dt]), bm=path, method="euler", dt=dt / SOLVER_STEPS
    )
    ends = ends[-1].view(SAMPLES, *x.shape)
    near = (ends - following).norm(dim=-1).mean()
    apart = torch.stack([(ends - ends.roll(k, 0)).norm(dim=-1).mean() for k in range(1, SAMPLES)])
    return (near - apart.mean() / 2) / math.sqrt(dt)


def _fitted(equation, mean, std):
    @torch.no_grad()
    def fitted(points):
        z = (torch.from_numpy(points) - mean) / std
        root = equation.g(None, z)
        root = std[:, None] * (root[:1] if equation.noise is None else root)
        return (equation.f(None, z) * std).numpy(), (root @ root.mT).numpy()

    return fitted


if __name__ == "__main__":
    work("torchsde", {"through its solver": solver})
