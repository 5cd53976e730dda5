"""Steps per second of the neural fit against a minimal hand-written loop."""

import math
import time
from itertools import pairwise

import torch
from torch import nn
from torch.nn.functional import softplus

from sdelens.estimation.noise import FLOOR
from sdelens.interfaces import load
from sdelens.paths.trajectories import Trajectories

DIM, PATHS, LENGTH, BATCH, WIDTH, NOISE_WIDTH, WAVES = 128, 200, 206, 512, 384, 256, 4
EPOCHS = 4


def data():
    """Paths of a correlated autoregressive process."""
    random = torch.Generator().manual_seed(0)
    states = torch.randn(PATHS, LENGTH, DIM, generator=random)
    for step in range(1, LENGTH):
        states[:, step] += 0.5 * states[:, step - 1].roll(1, -1)
    return Trajectories.from_states(states, 1.0)


def ours(train: Trajectories, held: Trajectories) -> list[float]:
    """Seconds per epoch of the probe, including validation and without the first epoch."""
    ends: list[float] = []
    probe = load("probe", "neural")(epochs=EPOCHS, batch=BATCH, least_steps=0, patience=EPOCHS)
    probe.fit(train, held, seed=0, watch=lambda epoch: ends.append(time.perf_counter()))
    return [end - start for start, end in pairwise(ends)]


def mlp(width: int) -> nn.Sequential:
    """Perceptron with two hidden layers."""
    return nn.Sequential(
        nn.Linear(DIM + 2 * WAVES, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, DIM),
    )


def by_hand(train: Trajectories, held: Trajectories) -> list[float]:
    """Seconds per epoch of a plain loop: features, linear path, two networks, AdamW."""
    flat, test = train.flat(), held.flat()
    drift, scale, matrix = mlp(WIDTH), mlp(NOISE_WIDTH), torch.eye(DIM)
    direct = nn.Linear(DIM + 2 * WAVES, DIM, bias=False)
    learned = [p for part in (drift, scale, direct) for p in part.parameters()]
    stepper = torch.optim.AdamW(learned, lr=1e-3, fused=True)
    waves = math.pi * torch.arange(1, WAVES + 1)

    def loss(t, x, following):
        phase = (t / LENGTH)[:, None] * waves
        seen = torch.cat([x, phase.sin(), phase.cos()], 1)
        residual = following - x @ matrix - direct(seen) - drift(seen)
        std = FLOOR + softplus(scale(seen))
        return ((0.5 * (residual / std).square() + std.log()).sum(1) + 0.92 * DIM).mean() / DIM

    ends: list[float] = []
    for _ in range(EPOCHS):
        for index in torch.randperm(len(flat.t)).split(BATCH):
            value = loss(flat.t[index], flat.x[index], flat.following[index])
            stepper.zero_grad(set_to_none=True)
            value.backward()
            stepper.step()
        with torch.no_grad():
            loss(test.t, test.x, test.following)
        ends.append(time.perf_counter())
    return [end - start for start, end in pairwise(ends)]


def measure(rounds: int = 7) -> dict[str, float]:
    """Steps per second of the fastest epochs over interleaved rounds, and their ratio."""
    everything = data()
    train, held = everything.rows(torch.arange(195)), everything.rows(torch.arange(195, 200))
    pairs = [(ours(train, held), by_hand(train, held)) for _ in range(rounds)]
    steps = math.ceil(len(train.flat().t) / BATCH)
    mine, plain = (steps / min(map(min, column)) for column in zip(*pairs, strict=True))
    return {"steps_per_second": mine, "steps_per_second_by_hand": plain, "ratio": mine / plain}


if __name__ == "__main__":
    print(measure())
