"""Paths drawn from a fitted SDE."""

import torch
import torchsde
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitted import Fitted
from sdelens.sde import SDE
from sdelens.seeds import derive, generator


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

    A discrete kernel is an SDE for torchsde under Euler's method with its own dt only, which is how
    it is integrated here, with a Brownian interval seeded by `seed`. An exact linear law is drawn
    from its transition instead, which has no discretisation error.
    """
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}")
    sde, dt = fitted.sde, fitted.dt
    times = t + dt * torch.arange(steps + 1, dtype=torch.float64)
    flat = start.reshape(-1, start.shape[-1])
    first = fitted.basis.encode(times[0].to(flat).expand(len(flat)), flat)
    draw = _exact if sde.density == "exact" else _euler
    latent = draw(sde, first, times.to(flat.dtype), seed)
    at = times.to(flat)[:, None].expand(latent.shape[:2])
    return fitted.basis.decode(at, latent).reshape(steps + 1, *start.shape)


def _euler(sde: SDE, first: Tensor, times: Tensor, seed: int) -> Tensor:
    channels = sde.diffusion(times[:1].expand(len(first)), first).channels
    motion = torchsde.BrownianInterval(
        t0=float(times[0]),
        t1=float(times[-1]),
        size=(len(first), channels),
        dtype=first.dtype,
        device=first.device,
        entropy=derive(seed, "brownian") % 2**31,
    )
    paths: Tensor = torchsde.sdeint(sde, first, times, bm=motion, method="euler", dt=sde.dt)
    return paths


def _exact(sde: SDE, first: Tensor, times: Tensor, seed: int) -> Tensor:
    random = generator(seed, "exact", device=first.device)
    states = [first]
    for t in times[:-1]:
        step = sde.transition(t.expand(len(first)), states[-1])
        noise = torch.randn(
            len(first), step.scale.channels, generator=random, dtype=first.dtype, device=first.device
        )
        states.append(step.mean + step.scale.apply(noise))
    return torch.stack(states)
