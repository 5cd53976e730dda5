"""Simulated paths of a fitted SDE."""

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
    """Simulate `steps` steps of length dt from `start` at time `t`; the start is included.

    A discrete kernel is integrated by torchsde with Euler steps of its own dt, for which it is
    exact, and a Brownian interval seeded by `seed`. An exact linear law is sampled from its
    transition, without discretisation error.
    """
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}")
    sde, basis = fitted.sde, fitted.basis
    times = step_times(t, sde.dt, steps)
    flat = start.reshape(-1, start.shape[-1])
    first = basis.encode(times[:1].to(flat).expand(len(flat)), flat)
    draw = _euler if sde.density in ("discrete", "euler") else _exact
    latent = draw(sde, first, times, seed).to(torch.promote_types(start.dtype, first.dtype))
    at = times.to(latent)[:, None].expand(latent.shape[:2])
    return basis.decode(at, latent).reshape(steps + 1, *start.shape)


def step_times(t: float, dt: float, steps: int) -> Float[Tensor, " time"]:
    """The times t, t + dt, …, added up in double precision as in torchsde's own loop.

    With ``t + dt * torch.arange(...)``, rounding would sometimes make torchsde take an additional
    tiny step.
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
    # torchsde's shape check draws from the global random state
    with torch.random.fork_rng(devices=[first.device] if first.is_cuda else []):
        paths: Tensor = torchsde.sdeint(sde, first, times, bm=motion, method="euler", dt=sde.dt)
    return paths


def _exact(sde: SDE, first: Tensor, times: Tensor, seed: int) -> Tensor:
    states = [first]
    for step, t in enumerate(times[:-1].to(first)):
        law = sde.transition(t.expand(len(first)), states[-1])
        states.append(law.sample(derive(seed, "exact", step)))
    return torch.stack(states)
