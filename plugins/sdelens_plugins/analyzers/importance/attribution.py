r"""Which tokens move a number that the fit gives: attributions to the tokens' embeddings.

For a number f of a text's embeddings :math:`e_1,\ldots,e_n` and a baseline :math:`e'`:

- gradient times input, :math:`e_i\cdot\partial f/\partial e_i`;
- integrated gradients, :math:`(e_i-e_i')\cdot\int_0^1 \partial_i f(e'+a(e-e'))\,da`, which sum to
  :math:`f(e)-f(e')` (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017);
- occlusion, :math:`f(e)-f(e\text{ with }e_i'\text{ for }e_i)`: no approximation, one token at a
  time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.protocols import LanguageModel, Site
from sdelens.states.passes import BATCH_TOKENS

Embedded = Float[Tensor, "row time dim"]
EMBED = Site("embed")
COMPLETE = 0.02
"""Integrated gradients that miss more than this share of what they attribute are not complete."""


@dataclass(frozen=True, eq=False)
class Response:
    """One number of the fit for each text, as a function of the embeddings of its tokens.

    With a `direction` the drift's component along it, in latent units per unit of time; without,
    the size of the noise, the root of its total variance in latent coordinates.
    """

    model: LanguageModel
    site: Site
    fitted: Fitted
    tokens: Int[Tensor, "row time"]
    at: Int[Tensor, " row"]
    """The position whose state the fit is asked about; later tokens make no difference."""
    direction: Float[Tensor, "row latent"] | None = None

    @property
    def embeddings(self) -> Embedded:
        """Those of the tokens themselves."""
        with torch.no_grad():
            return self.model.run(self.tokens, read=[EMBED]).reads[EMBED].float().cpu()

    def rows(self, index: Int[Tensor, " chosen"]) -> "Response":
        """Of some of the texts."""
        along = None if self.direction is None else self.direction[index]
        return replace(self, tokens=self.tokens[index], at=self.at[index], direction=along)

    def along_drift(self) -> "Response":
        """Along the drift of the texts as they are: its length, of which the tokens are asked."""
        with torch.no_grad():
            drift = self.drift(self.embeddings)
        return replace(self, direction=drift / drift.norm(dim=-1, keepdim=True).clamp(min=1e-30))

    def __call__(self, embeddings: Embedded) -> Float[Tensor, " row"]:
        if self.direction is not None:
            return (self.drift(embeddings) * self.direction).sum(-1)
        t, z = self._latent(embeddings)
        variance = self.fitted.sde.diffusion(t, z).variance().sum(-1)
        return variance.sqrt().expand(len(z))

    def drift(self, embeddings: Embedded) -> Float[Tensor, "row latent"]:
        """Of each text at its position."""
        return self.fitted.sde.drift(*self._latent(embeddings))

    def _latent(self, embeddings: Embedded) -> tuple[Tensor, Tensor]:
        states = states_from(self.model, self.site, self.tokens, embeddings)
        x = states[torch.arange(len(self.at)), self.at]
        t = self.at.to(x)
        z = self.fitted.basis.encode(t, x)
        return t.to(z), z


def states_from(
    model: LanguageModel, site: Site, tokens: Int[Tensor, "row time"], embeddings: Embedded
) -> Embedded:
    """The states at a site of texts with these embeddings, differentiable where the model is."""
    if site == EMBED:
        return embeddings
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value)  # what a pass reads is detached; what an edit is given is not
        return value

    model.run(tokens, read=[site], edit={EMBED: lambda value: embeddings.to(value), site: keep})
    if embeddings.requires_grad and not kept[0].requires_grad:
        raise UsageError(
            f"gradients need a model that runs with them, but the adapter of {model.card.name} "
            "runs without: use another adapter, or look at norms and attention only"
        )
    return kept[0].float().cpu()


@dataclass(frozen=True, eq=False)
class Attributed:
    """What each token adds to the number, and whether that is all of it."""

    values: Float[Tensor, "row time"]
    change: Float[Tensor, " row"]
    """f(e) - f(e'), what the values of integrated gradients must sum to."""

    @property
    def gap(self) -> Float[Tensor, " row"]:
        """What is missing of the sum, as a share of all that was attributed."""
        off = (self.values.sum(-1) - self.change).abs()
        return off / self.values.abs().sum(-1).clamp(min=1e-30)


def slope(response: Callable[[Embedded], Tensor], embeddings: Embedded) -> Embedded:
    """The gradient of each text's number; zero where it depends on nothing."""
    with torch.enable_grad():
        leaf = embeddings.detach().requires_grad_()
        total = response(leaf).sum()
        if not total.requires_grad:
            return torch.zeros_like(embeddings)
        found = torch.autograd.grad(total, leaf, allow_unused=True)[0]
    return torch.zeros_like(embeddings) if found is None else found


def gradient_times_input(
    response: Callable[[Embedded], Tensor], embeddings: Embedded
) -> Float[Tensor, "row time"]:
    """To first order at the text itself."""
    return (slope(response, embeddings) * embeddings).sum(-1)


def integrated_gradients(
    response: Response, embeddings: Embedded, baseline: Embedded, *, nodes: int = 32
) -> Attributed:
    """Along the straight line from the baseline, by Gauss and Legendre's rule of so many nodes."""
    # captum.attr.IntegratedGradients gives the same to 1e-7, but rounds its weights to float32,
    # fails where the number does not depend on the embeddings, and never splits a batch of texts
    points, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(nodes))
    way = embeddings - baseline
    rows, length, _ = way.shape
    total = torch.zeros_like(way, dtype=torch.float64)
    asked = torch.arange(nodes * rows)
    for index in torch.split(asked, max(1, BATCH_TOKENS // length)):
        node, row = index // rows, index % rows
        part = ((points[node] + 1) / 2).to(way)[:, None, None]
        found = slope(response.rows(row), baseline[row] + part * way[row])
        total.index_add_(0, row, weights[node, None, None] / 2 * found.double())
    with torch.no_grad():
        change = response(embeddings).double() - response(baseline).double()
    return Attributed((total * way.double()).sum(-1), change)


def complete_gradients(
    response: Response,
    embeddings: Embedded,
    baseline: Embedded,
    *,
    nodes: int = 32,
    doublings: int = 3,
) -> Attributed:
    """Integrated gradients, with twice the nodes up to so often where the sum is missed.

    Sharp attention makes the gradient swing along the way, in some texts more than in others; only
    those that miss more than `COMPLETE` are done again.
    """
    found = integrated_gradients(response, embeddings, baseline, nodes=nodes)
    for power in range(1, doublings + 1):
        rows = (found.gap > COMPLETE).nonzero()[:, 0]
        if not len(rows):
            break
        parts = (response.rows(rows), embeddings[rows], baseline[rows])
        again = integrated_gradients(*parts, nodes=nodes * 2**power)
        found = Attributed(found.values.index_copy(0, rows, again.values), found.change)
    return found


@torch.no_grad()
def occlusion(
    response: Response, embeddings: Embedded, baseline: Embedded
) -> Float[Tensor, "row time"]:
    """The change when one token's embedding takes the baseline's place."""
    rows, length, _ = embeddings.shape
    whole = response(embeddings)
    row = repeat(torch.arange(rows), "row -> (row time)", time=length)
    token = repeat(torch.arange(length), "time -> (row time)", row=rows)
    parts = []
    for index in torch.split(torch.arange(rows * length), max(1, BATCH_TOKENS // length)):
        changed, place = embeddings[row[index]].clone(), torch.arange(len(index))
        changed[place, token[index]] = baseline[row[index], token[index]]
        parts.append(whole[row[index]] - response.rows(row[index])(changed))
    return rearrange(torch.cat(parts), "(row time) -> row time", row=rows)
