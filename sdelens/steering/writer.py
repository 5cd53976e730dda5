"""Text generation while a fit displaces the model's states."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.language.shared_prefix import cache_rows
from sdelens.laws.law import Law
from sdelens.model_protocols import PaddedModel
from sdelens.paths.basis import Basis
from sdelens.protocols import Edit, LanguageModel, Site
from sdelens.states.generation import BATCH
from sdelens.states.sampling import inverse_cdf
from sdelens.steering.doses import How
from sdelens.steering.steered_path import SteeredPath, length, rescaled

STEERED = "steered"
"""Seed label of the uniform numbers that draw tokens (`uniforms`)."""


@dataclass(frozen=True, eq=False)
class Here:
    """Texts of equal length with the unsteered model's state and next-token law."""

    model: LanguageModel
    site: Site
    number: Int[Tensor, " row"]
    """Number of the text in each row; rows of the same text share their random numbers."""
    tokens: Int[Tensor, "row time"]
    x: Float[Tensor, "row dim"]
    """The state of the last token before it is displaced. Steering acts on later layers, and on
    this site only through the generated tokens."""
    law: Float[Tensor, "row vocabulary"]
    """Log probabilities of the next token, without the tokens that end a text."""
    past: Any
    """Key-value cache of at least these tokens."""
    previous: "Here | None" = None
    """One token earlier."""


@runtime_checkable
class Direction(Protocol):
    """Directions that replace the fit's displacements; their length is ignored."""

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        """Replaces m(X) - X."""

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        """Replaces X - m(X before)."""


@dataclass(frozen=True, eq=False)
class SteeredTokens:
    """Generated tokens, with statistics of their next-token laws in nats.

    All laws are conditional on the text continuing: the end-of-text token, which is never drawn,
    is excluded.
    """

    words: Int[Tensor, "row step"]
    nats: Float[Tensor, "row step"]
    """Surprisal of each token under the unsteered model."""
    entropy: Float[Tensor, "row step"]
    """Entropy of the steered law at temperature 1."""
    kl: Float[Tensor, "row step"]
    """KL(unsteered || steered) after the same tokens. It is zero for the first token, which
    follows the prompt, where no state is displaced."""
    size: Float[Tensor, "row step"]
    """Length of the displacement before each token, in training-standardised coordinates, before
    rounding to the model's dtype."""

    @classmethod
    def concatenate(cls, parts: "Sequence[SteeredTokens]") -> "SteeredTokens":
        """Concatenate the rows of several batches."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Writer:
    """Generates text with a model while a fit displaces the states at one site."""

    model: LanguageModel
    site: Site
    law: Law
    basis: Basis
    skip_first: int = 1
    """Number of initial positions that are not part of the fitted paths."""
    how: How = "push"
    temperature: float = 1.0
    """Sampling temperature; 0 takes the most likely token."""
    direction: Direction | None = None
    """Replaces the direction of the fit's displacements and keeps their length."""

    @torch.no_grad()
    def write(
        self,
        ids: Int[Tensor, "row token"],
        drift: Float[Tensor, " row"],
        diffusion: Float[Tensor, " row"],
        uniform: Float[Tensor, "row step"],
        number: Int[Tensor, " row"] | None = None,
    ) -> SteeredTokens:
        """Generate one token per uniform number, by inverting the steered law's distribution.

        Prompts need a state after the first `skip_first` positions. The tokens that end a text are
        never drawn, so all texts have the same length. Each row depends only on its own inputs.
        """
        number = torch.arange(len(ids)) if number is None else number
        parts = torch.split(torch.arange(len(ids)), BATCH)
        return SteeredTokens.concatenate(
            [
                self._write_batch(ids[k], Doses(drift[k], diffusion[k]), uniform[k], number[k])
                for k in parts
            ]
        )

    def _write_batch(
        self, ids: Tensor, doses: "Doses", uniform: Tensor, number: Tensor
    ) -> SteeredTokens:
        here, states, past = self._after_prompts(ids, number)
        law = here.law
        path = SteeredPath.of(
            self.law, self.basis, states, ids[:, self.skip_first :], ids.shape[1] - 1
        )
        edits, columns = states.new_zeros(len(ids), 1, states.shape[-1]), []
        for step, share in enumerate(uniform.unbind(1)):
            word = self._draw(law, share)
            size = length(self.basis, edits[:, -1])
            columns.append((word, *compare(here.law, law, word), size))
            if step < uniform.shape[1] - 1:
                here = self._advance(here, word)
                edit, path = self._displace(path, here, doses)
                edits = torch.cat([edits, edit[:, None]], dim=1)
                law, past = self._next_law(word[:, None], past, edits)
        return SteeredTokens(
            *(torch.stack(column, dim=1) for column in zip(*columns, strict=True))
        )

    def _after_prompts(self, ids: Tensor, number: Tensor) -> tuple[Here, Tensor, Any]:
        """The unsteered model after the prompts, the states of the prompts, and a second cache.

        Equal prompts are read once if the model can repeat the rows of its cache.
        """
        texts, row = ids, torch.arange(len(ids))
        if isinstance(self.model, PaddedModel):
            texts, row = torch.unique(ids, dim=0, return_inverse=True)
        out = self.model.run(texts, read=[self.site], keep=True, logits=True)
        if isinstance(self.model, PaddedModel):
            own, steered = (cache_rows(self.model, out.past, row) for _ in range(2))
        else:
            own, steered = out.past, self.model.run(texts, keep=True, logits=True).past
        states = out.reads[self.site].float().cpu()[row]
        law = self._law(out.required_logits)[row]
        here = Here(self.model, self.site, number, ids, states[:, -1], law, own)
        return here, states[:, self.skip_first :], steered

    def _advance(self, here: Here, word: Int[Tensor, " row"]) -> Here:
        """The unsteered model one token later."""
        token = word[:, None]
        out = self.model.run(token, read=[self.site], past=here.past, keep=True, logits=True)
        return replace(
            here,
            tokens=torch.cat([here.tokens, token], dim=1),
            x=out.reads[self.site][:, -1].float().cpu(),
            law=self._law(out.required_logits),
            past=out.past,
            previous=replace(here, previous=None),
        )

    def _displace(
        self, before: SteeredPath, here: Here, doses: "Doses"
    ) -> tuple[Float[Tensor, "row dim"], SteeredPath]:
        """The displacement of the new state, and the path with the displaced state."""
        word, noise = here.tokens[:, -1], before.noise(here.x)
        edit = (doses.diffusion.sqrt() - 1)[:, None] * self._redirect("noise", here, noise)
        after = before.then(here.x + edit, word)
        drift = before.drift if self.how == "remove" else after.drift
        where = here.previous if self.how == "remove" and here.previous else here
        dose = doses.drift * self._dose(after, drift)
        edit = edit + dose[:, None] * self._redirect("drift", where, drift)
        if not edit.isfinite().all():
            raise BadNumbers(
                f"the fit's mean must be finite at the steered states, but at position {after.at} "
                "it is not: use a smaller dose, or fit again"
            )
        return edit, before.then(here.x + edit, word)

    def _dose(self, after: SteeredPath, drift: Tensor) -> Float[Tensor, " row"]:
        """The multiple of the drift that corresponds to a dose of 1."""
        if self.how == "project":
            return after.without(drift)
        return torch.full((len(drift),), -1.0 if self.how == "remove" else 1.0)

    def _redirect(self, what: str, here: Here, own: Tensor) -> Float[Tensor, "row dim"]:
        """The fit's displacement, turned into the replacement direction if there is one."""
        if self.direction is None:
            return own
        return rescaled(self.basis, own, getattr(self.direction, what)(here))

    def _next_law(
        self, tokens: Tensor, past: Any, edits: Float[Tensor, "row time dim"]
    ) -> tuple[Float[Tensor, "row vocabulary"], Any]:
        """The steered next-token law, and the key-value cache."""
        edit = {self.site: add_to_last(edits)} if edits.shape[1] else None
        out = self.model.run(tokens, edit=edit, past=past, keep=True, logits=True)
        return self._law(out.required_logits), out.past

    def _law(
        self, logits: Float[Tensor, "row time vocabulary"]
    ) -> Float[Tensor, "row vocabulary"]:
        return log_probabilities(logits, self.model.card.ends)

    def _draw(self, law: Tensor, share: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
        if self.temperature == 0:
            return law.argmax(-1)
        return inverse_cdf((law / self.temperature).softmax(-1), share[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class Doses:
    """The doses a and s of each row."""

    drift: Float[Tensor, " row"]
    diffusion: Float[Tensor, " row"]


def log_probabilities(
    logits: Float[Tensor, "row time vocabulary"], ends: Sequence[int]
) -> Float[Tensor, "row vocabulary"]:
    """Log probabilities of the next token, conditional on it not ending the text."""
    last = logits[:, -1].double().cpu()
    if ends:
        last = last.index_fill(-1, torch.tensor(ends), -torch.inf)
    law = last.log_softmax(-1)
    if not law.isfinite().any(-1).all() or law.isnan().any():
        raise BadNumbers("logits must be finite: use --dtype float32, or a smaller dose")
    return law


def compare(
    own: Float[Tensor, "row vocabulary"],
    law: Float[Tensor, "row vocabulary"],
    word: Int[Tensor, " row"],
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"], Float[Tensor, " row"]]:
    """Surprisal under the unsteered law, entropy of the steered law, and KL(own || steered)."""
    nats = -own.gather(-1, word[:, None])[:, 0]
    entropy = torch.special.entr(law.exp()).sum(-1)
    kl = (own.exp() * (own - law)).where(own > -torch.inf, 0.0).sum(-1).clamp(min=0)
    return nats, entropy, kl


def add_to_last(edits: Float[Tensor, "row time dim"]) -> Edit:
    """An edit that adds to the last positions; earlier ones occur in models without a cache."""

    def edit(value: Tensor) -> Tensor:
        before = value.shape[1] - edits.shape[1]
        return value + torch.nn.functional.pad(edits, (0, 0, before, 0)).to(value)

    return edit
