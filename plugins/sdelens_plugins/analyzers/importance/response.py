"""A number of a fit as a function of the embeddings of a text's tokens."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.language.shared_prefix import SharedPrefix
from sdelens.protocols import LanguageModel, Site

Embedded = Float[Tensor, "row time dim"]
EMBED = Site("embed")


@dataclass(frozen=True, eq=False)
class Response:
    """One number of the fit at some positions of a text, as a function of token embeddings.

    With a `direction`, the component of the drift along it, in latent units per unit of time;
    otherwise the size of the noise, the root of its total variance in latent coordinates.
    """

    prefix: SharedPrefix
    """The beginning of the text, whose embeddings are fixed."""
    site: Site
    fitted: Fitted
    tokens: Int[Tensor, " time"]
    """The tokens after the prefix."""
    at: Int[Tensor, " row"]
    """The places among them where the fit is evaluated; later tokens have no effect."""
    direction: Float[Tensor, "row latent"] | None = None

    @classmethod
    def of(
        cls,
        model: LanguageModel,
        site: Site,
        fitted: Fitted,
        tokens: Int[Tensor, " time"],
        at: Int[Tensor, " row"],
        *,
        fixed: int = 0,
    ) -> "Response":
        """The noise at positions `at` of a text, whose first `fixed` tokens are the prefix."""
        prefix = SharedPrefix.of(model, tokens[:fixed])
        return cls(prefix, site, fitted, tokens[fixed:], at - fixed)

    @property
    def embeddings(self) -> Float[Tensor, "time dim"]:
        """The embeddings of the tokens."""
        with torch.no_grad():
            reads = self.prefix.model.run(self.tokens[None], read=[EMBED]).reads
            return reads[EMBED][0].float().cpu()

    def rows(self, index: Int[Tensor, " selected"]) -> "Response":
        """The response at some of the positions, without the tokens after them."""
        direction = None if self.direction is None else self.direction[index]
        at = self.at[index]
        tokens = self.tokens[: int(at.max()) + 1]
        return replace(self, tokens=tokens, at=at, direction=direction)

    def along_drift(self) -> "Response":
        """The component along the drift of the unchanged text, which there is its length."""
        with torch.no_grad():
            states = self.states(self.embeddings[None])[0, self.at]
            drift = self.fitted.sde.drift(*self._latent(states))
        return replace(self, direction=drift / drift.norm(dim=-1, keepdim=True).clamp(min=1e-30))

    def __call__(self, embeddings: Embedded) -> Float[Tensor, " row"]:
        """The number at each position, each with embeddings of its own."""
        states = self.states(embeddings)
        return self.of_states(states[torch.arange(len(self.at)), self.at])

    def everywhere(self, embeddings: Float[Tensor, "time dim"]) -> Float[Tensor, " row"]:
        """The number at each position, with the same embeddings."""
        return self.of_states(self.states(embeddings[None])[0, self.at])

    def of_states(self, states: Float[Tensor, "row dim"]) -> Float[Tensor, " row"]:
        """The number from the state at each position."""
        t, z = self._latent(states)
        if self.direction is not None:
            return (self.fitted.sde.drift(t, z) * self.direction).sum(-1)
        variance = self.fitted.sde.diffusion(t, z).variance().sum(-1)
        return variance.sqrt().expand(len(z))

    def _latent(self, states: Tensor) -> tuple[Tensor, Tensor]:
        t = (self.at + len(self.prefix.tokens)).to(states)
        z = self.fitted.basis.encode(t, states)
        return t.to(z), z

    def states(self, embeddings: Embedded) -> Embedded:
        """The states at the site for these embeddings, differentiable if the model is.

        Raises `UsageError` if gradients are needed and the adapter runs without them.
        """
        if self.site == EMBED:
            return embeddings
        kept: list[Tensor] = []

        def keep(value: Tensor) -> Tensor:
            kept.append(value)  # reads of a pass are detached; the input of an edit is not
            return value

        self.prefix.run(
            self.tokens.expand(len(embeddings), -1),
            read=[self.site],
            edit={EMBED: lambda value: embeddings.to(value), self.site: keep},
        )
        if embeddings.requires_grad and not kept[0].requires_grad:
            raise UsageError(
                "gradients need a model that runs with them, but the adapter of "
                f"{self.prefix.model.card.name} runs without: use another adapter, or look at "
                "norms and attention only"
            )
        return kept[0].float().cpu()
