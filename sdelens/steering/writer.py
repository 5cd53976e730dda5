"""A language model that writes while its states are steered by a fit."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.laws.law import Law
from sdelens.paths.basis import Basis
from sdelens.protocols import Edit, LanguageModel, Site
from sdelens.states.sampling import BATCH, inverse_cdf
from sdelens.steering.doses import How
from sdelens.steering.steered_path import SteeredPath, as_long_as, length

STEERED = "steered"
"""Of the numbers by which words are drawn (`uniforms`)."""


@dataclass(frozen=True, eq=False)
class Here:
    """Where some texts of one length are, the model left to itself."""

    model: LanguageModel
    site: Site
    number: Int[Tensor, " row"]
    """Which text each is: rows of one text share what is drawn."""
    tokens: Int[Tensor, "row time"]
    x: Float[Tensor, "row dim"]
    """The state of the last token. Behind the site it is the same, steered or not: what is steered
    acts on later layers, and through the words alone on this one."""
    law: Float[Tensor, "row vocabulary"]
    """Log probabilities of the next token, the end of text left out."""
    past: Any
    """What is cached of these tokens, and perhaps of more."""
    previous: "Here | None" = None
    """One token earlier."""


@runtime_checkable
class Direction(Protocol):
    """Displacements to put in the place of the fit's own; their length does not matter."""

    def drift(self, here: Here) -> Float[Tensor, "row dim"]:
        """In the place of m(X) - X."""

    def noise(self, here: Here) -> Float[Tensor, "row dim"]:
        """In the place of X - m(X before)."""


@dataclass(frozen=True, eq=False)
class SteeredTokens:
    """Words that were written, and what became of the law of each; in nats.

    All laws are those of the next word given that the text goes on: the end of text, which is not
    drawn, has no part in them.
    """

    words: Int[Tensor, "row step"]
    nats: Float[Tensor, "row step"]
    """Minus the log probability of each word under the model left to itself."""
    entropy: Float[Tensor, "row step"]
    """Of the law that each word was drawn from, at temperature 1."""
    kl: Float[Tensor, "row step"]
    """Of that law from the model's own after the same words, KL(own || steered). The first word's
    is zero: it follows the prompt, where nothing is steered."""
    size: Float[Tensor, "row step"]
    """The length of the displacement before each word, in training-standardised coordinates; not
    yet rounded to the model's type."""

    @classmethod
    def joined(cls, parts: "Sequence[SteeredTokens]") -> "SteeredTokens":
        """One below the other."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, eq=False)
class Writer:
    """A model, a fit to one of its sites, and what is done with the drift."""

    model: LanguageModel
    site: Site
    law: Law
    basis: Basis
    skip_first: int = 1
    """Positions at the start that the fit knows nothing of."""
    how: How = "push"
    temperature: float = 1.0
    """Of what is drawn; 0 takes the likeliest word."""
    direction: Direction | None = None
    """In the place of the fit's own displacements, as long as they are."""

    @torch.no_grad()
    def write(
        self,
        ids: Int[Tensor, "row token"],
        drift: Float[Tensor, " row"],
        diffusion: Float[Tensor, " row"],
        uniform: Float[Tensor, "row step"],
        number: Int[Tensor, " row"] | None = None,
    ) -> SteeredTokens:
        """A word for each uniform number, by inversion of the steered law's distribution function.

        Prompts have a state after the first `skip_first`. The end of text is not drawn, so that
        all are equally long. Every row depends on its own alone.
        """
        number = torch.arange(len(ids)) if number is None else number
        parts = torch.split(torch.arange(len(ids)), BATCH)
        return SteeredTokens.joined(
            [
                self._written(ids[k], Doses(drift[k], diffusion[k]), uniform[k], number[k])
                for k in parts
            ]
        )

    def _written(
        self, ids: Tensor, doses: "Doses", uniform: Tensor, number: Tensor
    ) -> SteeredTokens:
        here, states = self._begun(ids, number)
        law, past = self._next(ids, None, states[:, :0])
        track = SteeredPath.of(
            self.law, self.basis, states, ids[:, self.skip_first :], ids.shape[1] - 1
        )
        edits, columns = states.new_zeros(len(ids), 1, states.shape[-1]), []
        for step, share in enumerate(uniform.unbind(1)):
            word = self._chosen(law, share)
            size = length(self.basis, edits[:, -1])
            columns.append((word, *compared(here.law, law, word), size))
            if step < uniform.shape[1] - 1:
                here = self._after(here, word)
                edit, track = self._edited(track, here, doses)
                edits = torch.cat([edits, edit[:, None]], dim=1)
                law, past = self._next(word[:, None], past, edits)
        return SteeredTokens(
            *(torch.stack(column, dim=1) for column in zip(*columns, strict=True))
        )

    def _begun(self, ids: Tensor, number: Tensor) -> tuple[Here, Tensor]:
        """After the prompts, with their states."""
        out = self.model.run(ids, read=[self.site], keep=True, logits=True)
        states = out.reads[self.site].float().cpu()
        law = self._law(out.required_logits)
        here = Here(self.model, self.site, number, ids, states[:, -1], law, out.past)
        return here, states[:, self.skip_first :]

    def _after(self, here: Here, word: Int[Tensor, " row"]) -> Here:
        """One word later, nothing steered."""
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

    def _edited(
        self, before: SteeredPath, here: Here, doses: "Doses"
    ) -> tuple[Float[Tensor, "row dim"], SteeredPath]:
        """The displacement of the new state, and the track with the state where it is put."""
        word, noise = here.tokens[:, -1], before.noise(here.x)
        edit = (doses.diffusion.sqrt() - 1)[:, None] * self._turned("noise", here, noise)
        after = before.then(here.x + edit, word)
        drift = before.drift if self.how == "remove" else after.drift
        where = here.previous if self.how == "remove" and here.previous else here
        dose = doses.drift * self._dose(after, drift)
        edit = edit + dose[:, None] * self._turned("drift", where, drift)
        if not edit.isfinite().all():
            raise BadNumbers(
                "the fit's mean must be finite at the states that it is asked about, but it is "
                f"not at position {after.at}: steer by less, or fit again"
            )
        return edit, before.then(here.x + edit, word)

    def _dose(self, after: SteeredPath, drift: Tensor) -> Float[Tensor, " row"]:
        """How much of the drift a dose of 1 is."""
        if self.how == "project":
            return after.without(drift)
        return torch.full((len(drift),), -1.0 if self.how == "remove" else 1.0)

    def _turned(self, what: str, here: Here, own: Tensor) -> Float[Tensor, "row dim"]:
        """The fit's own displacement, or the one in its place."""
        if self.direction is None:
            return own
        return as_long_as(self.basis, own, getattr(self.direction, what)(here))

    def _next(
        self, tokens: Tensor, past: Any, edits: Float[Tensor, "row time dim"]
    ) -> tuple[Float[Tensor, "row vocabulary"], Any]:
        """The steered law of the next token."""
        edit = {self.site: displaced(edits)} if edits.shape[1] else None
        out = self.model.run(tokens, edit=edit, past=past, keep=True, logits=True)
        return self._law(out.required_logits), out.past

    def _law(
        self, logits: Float[Tensor, "row time vocabulary"]
    ) -> Float[Tensor, "row vocabulary"]:
        return last_law(logits, self.model.card.eos)

    def _chosen(self, law: Tensor, share: Float[Tensor, " row"]) -> Int[Tensor, " row"]:
        if self.temperature == 0:
            return law.argmax(-1)
        return inverse_cdf((law / self.temperature).softmax(-1), share[:, None])[:, 0]


@dataclass(frozen=True, eq=False)
class Doses:
    """Of each row: a, and s."""

    drift: Float[Tensor, " row"]
    diffusion: Float[Tensor, " row"]


def last_law(
    logits: Float[Tensor, "row time vocabulary"], eos: int | None
) -> Float[Tensor, "row vocabulary"]:
    """Log probabilities of the token after the last position, if it is not the end of text."""
    last = logits[:, -1].double().cpu()
    if eos is not None:
        last = last.index_fill(-1, torch.tensor(eos), -torch.inf)
    law = last.log_softmax(-1)
    if not law.isfinite().any(-1).all() or law.isnan().any():
        raise BadNumbers("logits must be finite: use --dtype float32, or steer by less")
    return law


def compared(
    own: Float[Tensor, "row vocabulary"],
    law: Float[Tensor, "row vocabulary"],
    word: Int[Tensor, " row"],
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"], Float[Tensor, " row"]]:
    """Nats of the words under the model's own law, entropy of the steered, KL(own || steered)."""
    nats = -own.gather(-1, word[:, None])[:, 0]
    entropy = torch.special.entr(law.exp()).sum(-1)
    apart = (own.exp() * (own - law)).where(own > -torch.inf, 0.0).sum(-1).clamp(min=0)
    return nats, entropy, apart


def displaced(edits: Float[Tensor, "row time dim"]) -> Edit:
    """An edit of the last positions; a model without a cache gives those before them as well."""

    def edit(value: Tensor) -> Tensor:
        before = value.shape[1] - edits.shape[1]
        return value + torch.nn.functional.pad(edits, (0, 0, before, 0)).to(value)

    return edit
