"""Paths drawn from a fitted SDE."""

from itertools import accumulate, repeat

import torch
import torchsde
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.laws.sde import SDE
from sdelens.seeds import derive


@torch.no_grad()
def simulate(
    fitted: Fitted,
    start: Float[Tensor, "*batch dim"],
    *,
    steps: int,
    t: float = 0.0,
    seed: int = 0,
) -> Float[Tensor, "time *batch dim"]:
    """Paths of `steps` steps of length dt from `start` at time `t`, the start included.

    A discrete kernel is an SDE for torchsde under Euler's method with its own dt only, which is
    how it is integrated here, with a Brownian interval seeded by `seed`. An exact linear law is
    drawn from its transition instead, which has no discretisation error.
    """
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}")
    sde, basis = fitted.sde, fitted.basis
    times = step_times(t, sde.dt, steps)
    flat = start.reshape(-1, start.shape[-1])
    first = basis.encode(times[:1].to(flat).expand(len(flat)), flat)
    draw = _euler if sde.density in ("discrete", "euler") else _exact
    latent = draw(sde, first, times, seed)
    at = times.to(latent)[:, None].expand(latent.shape[:2])
    return basis.decode(at, latent).reshape(steps + 1, *start.shape)


def step_times(t: float, dt: float, steps: int) -> Float[Tensor, " time"]:
    """The times t, t + dt, …, by the additions of torchsde's own loop, in double precision.

    With ``t + dt * torch.arange(...)`` rounding would leave torchsde short of a time now and then,
    and it would take one more tiny step.
    """
    return torch.tensor(list(accumulate(repeat(dt, steps), initial=t)), dtype=torch.float64)


def brownian_interval(
    sde: SDE, start: Float[Tensor, "batch dim"], times: Float[Tensor, " time"], seed: int
) -> torchsde.BrownianInterval:
    """The Brownian motion of `simulate`, for ``torchsde.sdeint(sde, start, times, bm=...)``."""
    now = times[0].to(start).expand(len(start))
    return torchsde.BrownianInterval(
        t0=float(times[0]),
        t1=float(times[-1]),
        size=(len(start), sde.diffusion(now, start).channels),
        dtype=start.dtype,
        device=start.device,
        entropy=derive(seed, "brownian"),
    )


def _euler(sde: SDE, first: Tensor, times: Tensor, seed: int) -> Tensor:
    motion = brownian_interval(sde, first, times, seed)
    # torchsde's check of shapes draws from the global random state
    with torch.random.fork_rng(devices=[first.device] if first.is_cuda else []):
        paths: Tensor = torchsde.sdeint(sde, first, times, bm=motion, method="euler", dt=sde.dt)
    return paths


def _exact(sde: SDE, first: Tensor, times: Tensor, seed: int) -> Tensor:
    states = [first]
    for step, t in enumerate(times[:-1].to(first)):
        law = sde.transition(t.expand(len(first)), states[-1])
        states.append(law.sample(derive(seed, "exact", step)))
    return torch.stack(states)
