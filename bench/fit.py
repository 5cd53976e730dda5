"""Steps per second of the neural fit against the shortest hand-written loop of its arithmetic."""

import math
import time
from statistics import median

import torch
from torch import nn
from torch.nn.functional import softplus

from sdelens.noise import FLOOR
from sdelens.registry import load
from sdelens.trajectories import Trajectories

DIM, PATHS, LENGTH, BATCH, WIDTH, NOISE_WIDTH, WAVES = 128, 200, 206, 512, 384, 256, 4


def data():
    """A correlated random walk towards the mean."""
    random = torch.Generator().manual_seed(0)
    states = torch.randn(PATHS, LENGTH, DIM, generator=random)
    for step in range(1, LENGTH):
        states[:, step] += 0.5 * states[:, step - 1].roll(1, -1)
    return Trajectories.from_states(states, 1.0)


def ours(train: Trajectories, held: Trajectories) -> float:
    """Seconds a step of the probe, its validation left out by fitting for one and two epochs."""
    steps = math.ceil(len(train.flat().t) / BATCH)
    clock = []
    for epochs in (1, 3):
        probe = load("probe", "neural")(epochs=epochs, batch=BATCH, least_steps=0)
        start = time.perf_counter()
        probe.fit(train, held, seed=0, watch=lambda epoch: None)
        clock.append(time.perf_counter() - start)
    return (clock[1] - clock[0]) / (2 * steps)


def mlp(width: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(DIM + 2 * WAVES, width),
        nn.SiLU(),
        nn.Linear(width, width),
        nn.SiLU(),
        nn.Linear(width, DIM),
    )


def by_hand(train: Trajectories, held: Trajectories) -> float:
    """Seconds a step of a plain loop: shuffle, features, linear path, two networks, AdamW."""
    flat = train.flat()
    drift, scale, matrix = mlp(WIDTH), mlp(NOISE_WIDTH), torch.eye(DIM)
    direct = nn.Linear(DIM + 2 * WAVES, DIM, bias=False)
    learned = [p for part in (drift, scale, direct) for p in part.parameters()]
    stepper = torch.optim.AdamW(learned, lr=1e-3, fused=True)
    waves = math.pi * torch.arange(1, WAVES + 1)
    clock = []
    for epochs in (1, 3):
        start = time.perf_counter()
        for _ in range(epochs):
            for index in torch.randperm(len(flat.t)).split(BATCH):
                t, x, following = flat.t[index], flat.x[index], flat.following[index]
                phase = (t / LENGTH)[:, None] * waves
                seen = torch.cat([x, phase.sin(), phase.cos()], 1)
                residual = following - x @ matrix - direct(seen) - drift(seen)
                std = FLOOR + softplus(scale(seen))
                nats = (0.5 * (residual / std).square() + std.log()).sum(1) + 0.92 * DIM
                loss = nats.mean() / DIM
                stepper.zero_grad(set_to_none=True)
                loss.backward()
                stepper.step()
        with torch.no_grad():
            drift(torch.cat([held.flat().x, torch.zeros(len(held.flat().t), 2 * WAVES)], 1))
        clock.append(time.perf_counter() - start)
    steps = math.ceil(len(flat.t) / BATCH)
    return (clock[1] - clock[0]) / (2 * steps)


def measure(rounds: int = 5) -> dict[str, float]:
    """Medians of interleaved rounds, and the ratio of steps per second."""
    everything = data()
    train, held = everything.rows(torch.arange(195)), everything.rows(torch.arange(195, 200))
    pairs = [(ours(train, held), by_hand(train, held)) for _ in range(rounds)]
    mine, plain = (median(column) for column in zip(*pairs, strict=True))
    return {
        "steps_per_second": 1 / mine,
        "steps_per_second_by_hand": 1 / plain,
        "ratio": median(hand / own for own, hand in pairs),
    }


if __name__ == "__main__":
    print(measure())
