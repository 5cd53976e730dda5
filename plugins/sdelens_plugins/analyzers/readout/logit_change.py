r"""What a change of a state says, in words: the law of the next token with and without it.

For a state x at a site and a push d, :math:`p = P(\cdot\mid x)` and :math:`q = P(\cdot\mid x+d)`
are the model's own next-token laws with the state replaced. Read at the site itself the rest of
the network is between; read at the last block's output only the final norm and the unembedding
are (the logit lens: nostalgebraist, "interpreting GPT: the logit lens", 2020).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.language.patching import following
from sdelens.language.texts import Places
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import generator

UNITS = {"logit": "logits", "probability": "probability"}
"""What words are ranked by, and its unit: by logit rare words come first, by probability likely
ones."""
ROWS = 256
"""Laws of the next word held in memory together."""


@dataclass(frozen=True, eq=False)
class LogitChange:
    """What each push of each state changes."""

    kl: Float[Tensor, "place push"]
    r""":math:`KL(p\,\|\,q)` in nats."""
    largest: Float[Tensor, "place push"]
    """The largest change of a logit, up or down, logits centred over the vocabulary."""
    raised: Int[Tensor, "place push word"]
    """The tokens whose logit, or probability, rises most."""
    raised_by: Float[Tensor, "place push word"]
    lowered: Int[Tensor, "place push word"]
    lowered_by: Float[Tensor, "place push word"]
    gain: Float[Tensor, "place push target"]
    """By how much the log probability of given tokens rises, in nats; NaN where there is none."""

    def tensors(self) -> dict[str, Tensor]:
        """By name."""
        return dict(vars(self))

    def rank(self, own: int, null: slice) -> Float[Tensor, " place"]:
        """The share of other pushes whose divergence is smaller than that of `own`; ties half."""
        mine, theirs = self.kl[:, own, None], self.kl[:, null]
        return ((theirs < mine).double() + 0.5 * (theirs == mine).double()).mean(-1)


def logit_change(
    model: LanguageModel,
    site: Site,
    places: Places,
    pushes: Float[Tensor, "place push dim"],
    *,
    words: int,
    by: str = "logit",
    targets: Int[Tensor, "place target"] | None = None,
) -> LogitChange:
    """The laws of the next word with and without each push, compared.

    Only the state at the place itself is changed: those before it, which later layers look back
    at, stay the model's own.
    """
    count = len(places.at)
    wanted = torch.full((count, 0), -1) if targets is None else targets
    found: list[tuple[Tensor, LogitChange]] = []
    for index in _together(places.at, 1 + pushes.shape[1]):
        tokens = places.tokens[index, : int(places.at[index[0]]) + 1]
        x = places.states[index][:, None]
        states = torch.cat([x, x + pushes[index].to(x)], dim=1)
        rows = tokens.repeat_interleave(states.shape[1], dim=0)
        laws = following(model, site, rows, states.flatten(0, 1)[:, None])
        laws = laws.reshape(*states.shape[:2], -1)
        found.append((index, compared(laws[:, :1], laws[:, 1:], words, by, wanted[index])))
    order = torch.cat([index for index, _ in found]).argsort()
    joined = (torch.cat([getattr(one, name) for _, one in found])[order] for name in _FIELDS)
    return LogitChange(*joined)


_FIELDS = ("kl", "largest", "raised", "raised_by", "lowered", "lowered_by", "gain")


def compared(
    before: Float[Tensor, "place 1 vocabulary"],
    after: Float[Tensor, "place push vocabulary"],
    words: int,
    by: str,
    targets: Int[Tensor, "place target"],
) -> LogitChange:
    """Two laws of the next word, as log probabilities."""
    change = after - before
    # a logit is defined up to a constant for all words: the mean change is taken out
    centred = change - change.mean(-1, keepdim=True)
    ranked = centred if by == "logit" else after.exp() - before.exp()
    kl = (before.double().exp() * -change.double()).sum(-1).clamp(min=0)
    up, down = ranked.topk(words, dim=-1), (-ranked).topk(words, dim=-1)
    index = targets.clamp(min=0)[:, None].expand(-1, change.shape[1], -1)
    gain = change.gather(-1, index).masked_fill((targets < 0)[:, None], torch.nan)
    return LogitChange(
        kl=kl,
        largest=centred.abs().amax(-1),
        raised=up.indices,
        raised_by=up.values,
        lowered=down.indices,
        lowered_by=-down.values,
        gain=gain,
    )


def _together(at: Int[Tensor, " place"], rows: int) -> Iterator[Int[Tensor, " chosen"]]:
    """Places of the same position, so many that their laws of the next word fit in memory."""
    for position in torch.unique(at).tolist():
        yield from torch.split((at == position).nonzero()[:, 0], max(1, ROWS // rows))


def as_long_as(
    push: Float[Tensor, "place dim"], directions: Float[Tensor, "place push dim"]
) -> Float[Tensor, "place push dim"]:
    """Directions scaled to the length of a push; the null that it is compared with."""
    unit = directions / directions.norm(dim=-1, keepdim=True).clamp(min=1e-30)
    scaled: Tensor = unit * push.norm(dim=-1)[:, None, None]
    return scaled


def isotropic(places: int, count: int, dim: int, *, seed: int) -> Float[Tensor, "place push dim"]:
    """Directions drawn uniformly from the sphere, up to their length."""
    return torch.randn(places, count, dim, generator=generator(seed, "isotropic"))


def leading(
    covariance: Float[Tensor, "place dim dim"], count: int
) -> Float[Tensor, "place count dim"]:
    """The leading directions of covariances, one standard deviation long, largest first.

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
