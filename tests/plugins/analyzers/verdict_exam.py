"""Systems whose class is known, for the exam of the verdict: how each is drawn and fitted."""

import math
from dataclasses import dataclass
from typing import Any

import torch

import sdelens
from sdelens.evidence.process_class import (
    CANNOT_TELL,
    COMPATIBLE,
    DISCRETE_GAUSSIAN,
    DISCRETE_NON_GAUSSIAN,
    HETEROGENEOUS,
    JUMP,
    NO_BETTER,
    NON_MARKOV,
    TIME_DEPENDENT,
)
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator
from sdelens.testing import (
    coloured_noise,
    diffeomorphic,
    discrete_markov,
    double_well,
    hidden_ornstein_uhlenbeck,
    jump_ornstein_uhlenbeck,
    ornstein_uhlenbeck,
)
from sdelens.testing.flow import Flow
from sdelens_plugins.probes.kernel.probe import KernelProbe
from sdelens_plugins.probes.linear import LinearProbe

OVER_TIME, DISCRETE = LinearProbe(density="exact"), LinearProbe()
OVER_TIME_KERNEL, DISCRETE_KERNEL = KernelProbe(density="euler"), KernelProbe()


def normal(seed, *shape):
    return torch.randn(*shape, generator=generator(seed, "exam"), dtype=torch.float64)


def uniform(seed, *shape, name="exam uniform"):
    return torch.rand(*shape, generator=generator(seed, name), dtype=torch.float64)


def chain(start, kicks, step):
    """Paths of states x' = step(x, kick, time), from the first of the kicks on."""
    states = [start]
    for time, kick in enumerate(kicks[1:], start=1):
        states.append(step(states[-1], kick, time))
    return torch.stack(states, dim=1).float()


def relaxing(dt, rate=lambda u: 1.0, level=lambda u: 0.0):
    """An Ornstein-Uhlenbeck process with unit noise; rate and level by the share of the path."""

    def simulate(paths, length, seed):
        kicks = normal(seed, length, paths, 1)

        def step(x, kick, time):
            theta, mean = rate(time / length), level(time / length)
            slope = math.exp(-theta * dt)
            return mean + slope * (x - mean) + math.sqrt((1 - slope**2) / (2 * theta)) * kick

        return chain(level(0) + kicks[0] / math.sqrt(2 * rate(0)), kicks, step)

    return simulate


def populations(dt, *, rates=(1.0, 1.0), levels=(0.0, 0.0)):
    """Half of the paths from each of two Ornstein-Uhlenbeck processes."""

    def simulate(paths, length, seed):
        halves = [
            relaxing(dt, lambda u, r=rate: r, lambda u, m=level: m)(paths // 2, length, part)
            for part, rate, level in zip((2 * seed, 2 * seed + 1), rates, levels, strict=True)
        ]
        return torch.stack(halves, dim=1).flatten(0, 1)

    return simulate


def oscillator(damping, dt=0.1):
    """The position of x'' = -x - damping x' + noise, without the velocity."""

    def simulate(paths, length, seed):
        matrix = torch.tensor([[0.0, 1.0], [-1.0, -damping]], dtype=torch.float64)
        unit = torch.tensor([0.0, 2 * damping], dtype=torch.float64).diag()
        return Flow.of(matrix, unit, dt).paths(paths, length, generator(seed))[..., :1].float()

    return simulate


def autoregression(slope):
    """A stationary Gaussian chain X' = slope X + noise."""

    def simulate(paths, length, seed):
        kicks = normal(seed, length, paths, 1)
        return chain(kicks[0] / (1 - slope**2) ** 0.5, kicks, lambda x, kick, _: slope * x + kick)

    return simulate


def garch(paths, length, seed, *, base=0.1, news=0.1, persistence=0.8):
    """GARCH(1,1) returns: white, with a variance that remembers."""
    variance, returns = torch.ones(paths, 1).double(), []
    for kick in normal(seed, length + 100, paths, 1):
        returns.append(variance.sqrt() * kick)
        variance = base + news * returns[-1].square() + persistence * variance
    return torch.stack(returns[100:], dim=1).float()


def five_points(paths, length, seed):
    """A Markov chain on five points of R^4, which mostly stays or moves on to the next."""
    points = torch.cat([torch.eye(4), torch.full((1, 4), -0.5)]).double()
    ahead = torch.tensor([0.5, 0.3, 0.1, 0.05, 0.05]).double().cumsum(0)
    moves = (uniform(seed, length, paths)[..., None] > ahead).sum(-1).clamp(max=4)
    return points[moves.cumsum(0) % 5].transpose(0, 1).contiguous().float()


def noisy_walk(paths, length, seed):
    """A random walk that is measured with an error."""
    walk, error = normal(seed, 2, paths, length, 1)
    return (walk.cumsum(1) + 0.7 * error).float()


def logistic(paths, length, seed):
    """The logistic map with little noise."""
    kicks = normal(seed, length, paths, 1)
    start = 0.2 + 0.6 * uniform(seed, paths, 1)
    return chain(
        start, kicks, lambda x, kick, _: (3.8 * x * (1 - x) + 0.005 * kick).clamp(0.001, 0.999)
    )


def henon(paths, length, seed):
    """The Henon map with little noise, in both coordinates."""
    kicks = 0.002 * normal(seed, length + 30, paths, 2)

    def step(state, kick, _):
        x, y = state.unbind(1)
        return torch.stack([1 - 1.4 * x.square() + y, 0.3 * x], dim=1) + kick

    return chain(0.1 * uniform(seed, paths, 2), kicks, step)[:, 30:]


def levy(paths, length, seed, *, alpha=1.5, dt=0.1):
    """An Ornstein-Uhlenbeck process driven by stable noise (Chambers, Mallows and Stuck 1976)."""
    angle = math.pi * (uniform(seed, length + 50, paths, 1) - 0.5)
    wait = -uniform(seed, length + 50, paths, 1, name="exam wait").log()
    kicks = (alpha * angle).sin() / angle.cos() ** (1 / alpha)
    kicks = kicks * (((1 - alpha) * angle).cos() / wait) ** ((1 - alpha) / alpha)
    slope = math.exp(-dt)
    size = ((1 - slope**alpha) / alpha) ** (1 / alpha)
    return chain(size * kicks[0], kicks, lambda x, kick, _: slope * x + size * kick)[:, 50:]


def folded(paths, length, seed):
    """x' = 2 sin(3x) with Gaussian noise: Markov and Gaussian, but no flow."""
    kicks = normal(seed, length, paths, 1)
    return chain(kicks[0], kicks, lambda x, kick, _: 2 * (3 * x).sin() + 0.3 * kick)


def thresholds(dim):
    """A piecewise linear Gaussian chain: one matrix on each side of a hyperplane."""

    def simulate(paths, length, seed):
        turn = torch.linalg.qr(normal(seed, dim, dim)).Q
        side = turn[0] + turn[1]
        kicks = normal(seed + 1000, length, paths, dim)

        def step(x, kick, _):
            return torch.where((x @ side > 0)[:, None], 0.95 * x, 0.9 * x @ turn.mT) + kick

        return chain(kicks[0], kicks, step)

    return simulate


@dataclass(frozen=True)
class Case:
    """Paths of 101 states, how they are drawn, their step, the probe, and the class."""

    paths: int
    simulate: Any
    dt: float
    probe: Any
    expected: str
    open: bool = False
    """Whether "cannot tell" is an answer too, because power is limited."""


def moving_mean(u):
    return math.sin(2 * math.pi * u)


def moving_rate(u):
    return 0.4 + 2 * u


EXAM = {
    # lagged moments of a slow process need some thousand relaxation times, held out
    "OU": Case(2000, ornstein_uhlenbeck().simulate, 0.1, OVER_TIME, COMPATIBLE),
    "OU at dt = .02": Case(2000, relaxing(0.02), 0.02, OVER_TIME, COMPATIBLE, open=True),
    "OU at dt = .5": Case(2000, relaxing(0.5), 0.5, OVER_TIME, COMPATIBLE),
    "in the plane": Case(2000, ornstein_uhlenbeck(2).simulate, 0.1, OVER_TIME, COMPATIBLE),
    "diffeomorphic": Case(
        2000, diffeomorphic(1, bend=1.0).simulate, 0.1, OVER_TIME, COMPATIBLE, open=True
    ),
    "double well": Case(
        1000, double_well().simulate, 0.1, OVER_TIME_KERNEL, COMPATIBLE, open=True
    ),
    "mean fitted": Case(
        1000, relaxing(0.1, level=moving_mean), 1.0, DISCRETE, COMPATIBLE, open=True
    ),
    "moving mean, fitted": Case(
        2000,
        relaxing(0.1, level=moving_mean),
        0.1,
        LinearProbe(density="exact", by_time=True),
        COMPATIBLE,
        open=True,
    ),
    "moving mean": Case(1000, relaxing(0.1, level=moving_mean), 0.1, OVER_TIME, TIME_DEPENDENT),
    "moving rate": Case(2000, relaxing(0.1, rate=moving_rate), 0.1, OVER_TIME, TIME_DEPENDENT),
    "two rates": Case(2000, populations(0.1, rates=(0.7, 1.4)), 0.1, OVER_TIME, HETEROGENEOUS),
    "two levels": Case(2000, populations(0.1, levels=(-0.5, 0.5)), 0.1, OVER_TIME, HETEROGENEOUS),
    "jumps": Case(1000, jump_ornstein_uhlenbeck().simulate, 0.1, OVER_TIME, JUMP),
    "stable noise": Case(1000, levy, 0.1, OVER_TIME, JUMP),
    "stable steps": Case(1000, levy, 1.0, DISCRETE, DISCRETE_NON_GAUSSIAN),
    "hidden state": Case(1000, hidden_ornstein_uhlenbeck().simulate, 0.1, OVER_TIME, NON_MARKOV),
    "coloured noise": Case(1000, coloured_noise().simulate, 0.1, OVER_TIME, NON_MARKOV),
    "underdamped": Case(1000, oscillator(0.3), 0.1, OVER_TIME, NON_MARKOV),
    "overdamped": Case(1000, oscillator(4.0), 0.1, OVER_TIME, NON_MARKOV),
    "GARCH": Case(2000, garch, 1.0, DISCRETE, NON_MARKOV),
    "noisy walk": Case(1000, noisy_walk, 1.0, DISCRETE, NON_MARKOV),
    "two peaks": Case(1000, discrete_markov().simulate, 1.0, DISCRETE, DISCRETE_NON_GAUSSIAN),
    "five points": Case(1000, five_points, 1.0, DISCRETE, DISCRETE_NON_GAUSSIAN),
    "independent": Case(1000, autoregression(0.0), 1.0, DISCRETE, NO_BETTER),
    "alternating": Case(1000, autoregression(-0.5), 1.0, DISCRETE, DISCRETE_GAUSSIAN),
    "logistic map": Case(1000, logistic, 1.0, DISCRETE, DISCRETE_GAUSSIAN),
    "Henon map": Case(1000, henon, 1.0, DISCRETE, DISCRETE_GAUSSIAN),
    "folded, linear fit": Case(1000, folded, 1.0, DISCRETE, DISCRETE_GAUSSIAN),
    "folded, kernel fit": Case(1000, folded, 1.0, DISCRETE_KERNEL, DISCRETE_GAUSSIAN),
    # the flexible mean misses part of a hyperplane in eight dimensions
    "piecewise linear": Case(1000, thresholds(8), 1.0, DISCRETE, CANNOT_TELL),
}


def verdict_on(case, seed):
    """The verdict on a fit to one sample of a case."""
    states = Trajectories.from_states(case.simulate(case.paths, 101, seed), case.dt)
    return sdelens.fit(states, probe=case.probe, seed=seed).verdict(states)


def answers(case):
    """The classes that count as right."""
    return {case.expected, CANNOT_TELL} if case.open else {case.expected}
