r"""The change of the next-token distribution when a state is displaced.

For a state x at a site and a push d, :math:`p = P(\cdot\mid x)` and :math:`q = P(\cdot\mid x+d)`
are the model's next-token distributions with the state replaced. If the push is at the site
itself, it acts through the rest of the network; at the last block's output it acts through the
final norm and the unembedding only (the logit lens: nostalgebraist, "interpreting GPT: the logit
lens", 2020).
"""

from dataclasses import dataclass, fields
from itertools import chain

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.language.patching import laws_of_variants
from sdelens.language.texts import Places
from sdelens.protocols import LanguageModel, Site

UNITS = {"logit": "logits", "probability": "probability"}
"""What words are ranked by, and its unit: by logit rare words come first, by probability likely
ones."""


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
    wanted = torch.full((len(places.at), 0), -1) if targets is None else targets
    changes = []
    for place, at in enumerate(places.at.tolist()):
        x = places.states[place]
        states = torch.cat([x[None], x + pushes[place].to(x)])
        laws = laws_of_variants(model, site, places.tokens[place, : at + 1], states)
        first = next(laws)
        changes += [
            logit_changes(first[None, :1], law[None], words, by, wanted[place, None])
            for law in chain((first[1:],), laws)  # in blocks
            if len(law)
        ]
    names = [field.name for field in fields(LogitChange)]
    joined = (torch.cat([getattr(each, name)[0] for each in changes]) for name in names)
    return LogitChange(*(part.reshape(*pushes.shape[:2], *part.shape[1:]) for part in joined))


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
    up, down = ranked.topk(words, dim=-1), ranked.topk(words, dim=-1, largest=False)
    index = targets.clamp(min=0)[:, None].expand(-1, change.shape[1], -1)
    gain = change.gather(-1, index).masked_fill((targets < 0)[:, None], torch.nan)
    return LogitChange(
        kl=kl,
        largest=centred.abs().amax(-1),
        raised=up.indices,
        raised_by=up.values,
        lowered=down.indices,
        lowered_by=down.values,
        gain=gain,
    )
