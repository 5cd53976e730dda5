r"""The change of the next-token distribution when a state is displaced.

For a state x at a site and a push d, :math:`p = P(\cdot\mid x)` and :math:`q = P(\cdot\mid x+d)`
are the model's next-token distributions with the state replaced. If the push is at the site
itself, it acts through the rest of the network; at the last block's output it acts through the
final norm and the unembedding only (the logit lens: nostalgebraist, "interpreting GPT: the logit
lens", 2020).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.language.patching import next_token_log_probabilities
from sdelens.language.texts import Places
from sdelens.protocols import LanguageModel, Site

UNITS = {"logit": "logits", "probability": "probability"}
"""What words are ranked by, and its unit: by logit rare words come first, by probability likely
ones."""
BATCH = 256
"""Next-token distributions that are in memory at the same time."""


@dataclass(frozen=True, eq=False)
class LogitChange:
    """The effect of each push of each state on the next-token distribution."""

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
    """The rise of the log probability of given tokens, in nats; NaN where there is none."""

    def tensors(self) -> dict[str, Tensor]:
        """All fields by name."""
        return dict(vars(self))

    def rank(self, push: int, null: slice) -> Float[Tensor, " place"]:
        """The share of null pushes whose divergence is smaller than that of `push`; ties half."""
        kl, null_kl = self.kl[:, push, None], self.kl[:, null]
        return ((null_kl < kl).double() + 0.5 * (null_kl == kl).double()).mean(-1)


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
    """Compares the next-token distributions with and without each push.

    Only the state at the place itself is changed: earlier states, which later layers attend to,
    stay those of the model.
    """
    count = len(places.at)
    wanted = torch.full((count, 0), -1) if targets is None else targets
    parts: list[tuple[Tensor, LogitChange]] = []
    for index in _batches(places.at, 1 + pushes.shape[1]):
        tokens = places.tokens[index, : int(places.at[index[0]]) + 1]
        x = places.states[index][:, None]
        states = torch.cat([x, x + pushes[index].to(x)], dim=1)
        variants = states.shape[1]
        log_probs = next_token_log_probabilities(
            model,
            site,
            repeat(tokens, "place token -> (place push) token", push=variants),
            rearrange(states, "place push dim -> (place push) 1 dim"),
        )
        log_probs = rearrange(log_probs, "(place push) 1 token -> place push token", push=variants)
        change = logit_changes(log_probs[:, :1], log_probs[:, 1:], words, by, wanted[index])
        parts.append((index, change))
    order = torch.cat([index for index, _ in parts]).argsort()
    names = [field.name for field in fields(LogitChange)]
    joined = (torch.cat([getattr(part, name) for _, part in parts])[order] for name in names)
    return LogitChange(*joined)


def logit_changes(
    before: Float[Tensor, "place 1 vocabulary"],
    after: Float[Tensor, "place push vocabulary"],
    words: int,
    by: str,
    targets: Int[Tensor, "place target"],
) -> LogitChange:
    """The change between two next-token distributions, given as log probabilities."""
    change = after - before
    # logits are defined up to a constant over the vocabulary: remove the mean change
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


def _batches(at: Int[Tensor, " place"], rows: int) -> Iterator[Int[Tensor, " batch"]]:
    """Places of the same position, as many as fit in memory with `rows` distributions each."""
    for position in torch.unique(at).tolist():
        yield from torch.split((at == position).nonzero()[:, 0], max(1, BATCH // rows))
