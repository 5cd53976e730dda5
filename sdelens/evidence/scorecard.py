"""Proper scores of several laws on the same transitions, by document and position."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.proper_scores import energy_score, gaussian_crps
from sdelens.laws.law import Gaussian, Law, Predictive
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import derive

SCORES = ("nats", "crps", "energy")
"""Negative log density and continuous ranked probability score, both per dimension, and energy
score of the whole state."""
PIECE = 2**20
"""Values per piece of a block; with draws of each state, this takes a few hundred megabytes."""


def pieces(paths: Iterable[Trajectories], numbers: int = PIECE) -> Iterator[Trajectories]:
    """Split blocks between paths into pieces of about `numbers` values, skipping empty ones."""
    for block in paths:
        count, size = len(block.document), max(1, numbers // max(1, block.states[0].numel()))
        for first in range(0, count, size):
            rows = torch.arange(first, min(first + size, count), device=block.document.device)
            piece = block.rows(rows)
            if piece.steps.any():
                yield piece


def past(block: Trajectories) -> Trajectories:
    """The block without the last observation of each path."""
    return replace(
        block,
        states=block.states[:, :-1],
        mask=block.mask[:, :-1],
        times=block.times[:, :-1],
        tokens=block.tokens[:, :-1],
    )


@dataclass(frozen=True, eq=False)
class Scorecard:
    """Sums of the scores of each law, by group of documents and position bin."""

    laws: tuple[str, ...]
    sums: Float[Tensor, "score law document bin"]
    count: Float[Tensor, "document bin"]

    def of(self, score: str, law: str) -> Float[Tensor, "document bin"]:
        """Sums of one score of one law."""
        return self.sums[SCORES.index(score), self.laws.index(law)]

    def lead(self, score: str, law: str, over: str) -> Float[Tensor, "document bin"]:
        """Summed difference in score between two laws; positive if `law` is better than `over`."""
        return self.of(score, over) - self.of(score, law)


@torch.no_grad()
def scorecard(
    laws: Mapping[str, Law],
    paths: Iterable[Trajectories],
    groups: Int[Tensor, " document"],
    edges: Float[Tensor, " edge"],
    *,
    draws: int,
    seed: int,
) -> Scorecard:
    """Score all laws on all transitions of latent paths, block by block.

    `groups` is the group of each document, numbered from 0; `edges` are the times between position
    bins. Energy scores use `draws` draws, with the same noise for all laws.
    """
    bins, units = len(edges) + 1, int(groups.max()) + 1
    sums = torch.zeros(len(SCORES), len(laws), units * bins, dtype=torch.float64)
    count = torch.zeros(units * bins, dtype=torch.float64)
    for number, block in enumerate(pieces(paths)):
        own, steps = derive(seed, number), block.steps
        known, following = past(block), block.states[:, 1:]
        bin_ = torch.bucketize(known.times.expand(steps.shape).contiguous(), edges.to(block.times))
        unit = groups.to(block.document.device)[block.document][:, None] * bins + bin_
        count += torch.bincount(unit[steps].cpu(), minlength=units * bins)
        for index, law in enumerate(laws.values()):
            found = _scores(law.predict(known), following, draws, own)
            sums[:, index] += by_unit(found[:, steps], unit[steps], units * bins)
    return Scorecard(
        tuple(laws),
        rearrange(sums, "score law (unit bin) -> score law unit bin", bin=bins),
        rearrange(count, "(unit bin) -> unit bin", bin=bins),
    )


def _scores(
    predicted: Predictive, following: Float[Tensor, "path step dim"], draws: int, seed: int
) -> Float[Tensor, "score path step"]:
    """All scores of one law; the CRPS of a non-Gaussian law is estimated from its draws."""
    drawn = [predicted.sample(derive(seed, draw)) for draw in range(draws)]
    sampled = torch.stack(drawn, dim=-2)
    if isinstance(predicted, Gaussian):
        std = predicted.scale.variance().sqrt()
        crps = gaussian_crps(predicted.mean, std.expand(following.shape), following)
    else:
        crps = energy_score(sampled.mT[..., None], following[..., None])
    nats = -predicted.log_density(following) / following.shape[-1]
    return torch.stack([nats, crps.mean(-1), energy_score(sampled, following)])
