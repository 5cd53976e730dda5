"""Displacements of states along the drift, along the noise and in random directions."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Viewed
from sdelens.language.texts import Places
from sdelens.seeds import derive, generator

COVARIANCE_ENTRIES = 2**26
"""Entries of covariances that are in memory at the same time."""
NULLS = ("sphere", "steps", "noise")
"""Random pushes: as long as the drift on the sphere and along training increments; as long as the
first noise direction on the sphere."""


def pushes(
    viewed: Viewed, places: Places, *, directions: int, random: int, seed: int
) -> Float[Tensor, "place push dim"]:
    """Drift, both signs of each noise direction, to the mean state, then the random pushes.

    There are `random` random pushes of each kind of `NULLS`.
    """
    fitted, x = viewed.fitted, places.states
    drift, noise = expected_step(fitted, places, directions)
    signed = rearrange([noise, -noise], "sign place direction dim -> place (direction sign) dim")
    count, dim = x.shape
    sphere = isotropic(count, 2 * random, dim, seed=seed)
    to_mean = (fitted.basis.mean_at(places.times + fitted.dt) - x).to(x)
    nulls = (
        with_length_of(drift, sphere[:, :random]),
        with_length_of(drift, _training_increments(viewed, count, random, derive(seed, "train"))),
        with_length_of(noise[:, 0], sphere[:, random:]),
    )
    return torch.cat([drift[:, None], signed, to_mean[:, None], *nulls], dim=1)


def null_pushes(kind: str, *, directions: int, random: int) -> slice:
    """The columns of `pushes` that hold the random pushes of a kind of `NULLS`."""
    first = 2 + 2 * directions + random * NULLS.index(kind)
    return slice(first, first + random)


def _training_increments(
    viewed: Viewed, places: int, count: int, seed: int
) -> Float[Tensor, "place count dim"]:
    """Increments of training texts, repeated if there are too few."""
    batch = next(iter(viewed.train.transitions(places * count, seed)))
    increments = (batch.following - batch.x).cpu()
    sample = increments[torch.arange(places * count) % len(increments)]
    return rearrange(sample, "(place count) dim -> place count dim", place=places)


def expected_step(
    fitted: Fitted, places: Places, directions: int
) -> tuple[Float[Tensor, "place dim"], Float[Tensor, "place direction dim"]]:
    """The expected increment of one step, and the leading directions of its noise."""
    x = places.states
    drifts: list[Tensor] = []
    noises: list[Tensor] = []
    for index in torch.split(torch.arange(len(x)), max(1, COVARIANCE_ENTRIES // x.shape[1] ** 2)):
        step = fitted.transition(places.times[index], x[index])
        drifts.append(step.mean - x[index].to(step.mean))
        if noises and step.covariance.stride(0) == 0:  # the same for all, and known already
            noises.append(noises[0][:1].expand(len(index), -1, -1))
        else:
            noises.append(leading_directions(step.covariance, directions))
    return torch.cat(drifts), torch.cat(noises)


def with_length_of(
    push: Float[Tensor, "place dim"], directions: Float[Tensor, "place push dim"]
) -> Float[Tensor, "place push dim"]:
    """Directions scaled to the length of a push."""
    unit = directions / directions.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    scaled: Tensor = unit * push.norm(dim=-1)[:, None, None]
    return scaled


def isotropic(places: int, count: int, dim: int, *, seed: int) -> Float[Tensor, "place push dim"]:
    """Normal vectors, whose directions are uniform on the sphere."""
    return torch.randn(places, count, dim, generator=generator(seed, "isotropic"))


def leading_directions(
    covariance: Float[Tensor, "place dim dim"], count: int
) -> Float[Tensor, "place count dim"]:
    """The leading eigenvectors of covariances, one standard deviation long, largest first.

    A covariance that is the same for all places (a tensor without stride) is decomposed once. The
    sign of a direction is arbitrary: here its largest coordinate is positive.
    """
    places = len(covariance)
    same = covariance.stride(0) == 0
    values, vectors = torch.linalg.eigh((covariance[:1] if same else covariance).double())
    values, vectors = values.flip(-1)[:, :count], vectors.flip(-1)[..., :count]
    largest = vectors.abs().argmax(-2, keepdim=True)
    vectors = vectors * vectors.gather(-2, largest).sign()
    scaled: Tensor = (vectors * values.clamp(min=0).sqrt()[:, None]).mT
    return scaled.expand(places, *scaled.shape[1:]).float()
