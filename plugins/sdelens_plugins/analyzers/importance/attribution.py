r"""Attribution of a number of the fit to the embeddings of a text's tokens.

For a number f of a text's embeddings :math:`e_1,\ldots,e_n` and a baseline :math:`e'`:

- gradient times input, :math:`e_i\cdot\partial f/\partial e_i`;
- integrated gradients, :math:`(e_i-e_i')\cdot\int_0^1 \partial_i f(e'+a(e-e'))\,da`, which sum to
  :math:`f(e)-f(e')` (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017);
- occlusion, :math:`f(e)-f(e\text{ with }e_i'\text{ for }e_i)`, without approximation, one token
  at a time.
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
TOLERANCE = 0.02
"""Integrated gradients are complete if their gap is at most this share."""


@dataclass(frozen=True, eq=False)
class Response:
    """One number of the fit for each text, as a function of the embeddings of its tokens.

    With a `direction`, the component of the drift along it, in latent units per unit of time;
    otherwise the size of the noise, the root of its total variance in latent coordinates.
    """

    model: LanguageModel
    site: Site
    fitted: Fitted
    tokens: Int[Tensor, "row time"]
    at: Int[Tensor, " row"]
    """The position of the state where the fit is evaluated; later tokens have no effect."""
    direction: Float[Tensor, "row latent"] | None = None

    @property
    def embeddings(self) -> Embedded:
        """The embeddings of the tokens."""
        with torch.no_grad():
            return self.model.run(self.tokens, read=[EMBED]).reads[EMBED].float().cpu()

    def rows(self, index: Int[Tensor, " selected"]) -> "Response":
        """The response of some of the texts."""
        direction = None if self.direction is None else self.direction[index]
        return replace(self, tokens=self.tokens[index], at=self.at[index], direction=direction)

    def along_drift(self) -> "Response":
        """The component along the drift of the unchanged texts, which there is its length."""
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
        """The drift of each text at its position."""
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
    """The states at a site for texts with these embeddings, differentiable if the model is.

    Raises `UsageError` if gradients are needed and the adapter runs without them.
    """
    if site == EMBED:
        return embeddings
    kept: list[Tensor] = []

    def keep(value: Tensor) -> Tensor:
        kept.append(value)  # reads of a pass are detached; the input of an edit is not
        return value

    model.run(tokens, read=[site], edit={EMBED: lambda value: embeddings.to(value), site: keep})
    if embeddings.requires_grad and not kept[0].requires_grad:
        raise UsageError(
            f"gradients need a model that runs with them, but the adapter of {model.card.name} "
            "runs without: use another adapter, or look at norms and attention only"
        )
    return kept[0].float().cpu()


@dataclass(frozen=True, eq=False)
class Attribution:
    """The contribution of each token to the number, and the change that they should sum to."""

    values: Float[Tensor, "row time"]
    change: Float[Tensor, " row"]
    """f(e) - f(e'), the sum of exact integrated gradients."""

    @property
    def gap(self) -> Float[Tensor, " row"]:
        """The missing part of the sum, as a share of the absolute attributions."""
        missing = (self.values.sum(-1) - self.change).abs()
        return missing / self.values.abs().sum(-1).clamp(min=1e-30)


def gradient(response: Callable[[Embedded], Tensor], embeddings: Embedded) -> Embedded:
    """The gradient of each text's number; zero if it does not depend on the embeddings."""
    with torch.enable_grad():
        leaf = embeddings.detach().requires_grad_()
        total = response(leaf).sum()
        if not total.requires_grad:
            return torch.zeros_like(embeddings)
        gradients = torch.autograd.grad(total, leaf, allow_unused=True)[0]
    return torch.zeros_like(embeddings) if gradients is None else gradients


def gradient_times_input(
    response: Callable[[Embedded], Tensor], embeddings: Embedded
) -> Float[Tensor, "row time"]:
    """The contribution of each token to first order."""
    return (gradient(response, embeddings) * embeddings).sum(-1)


def integrated_gradients(
    response: Response, embeddings: Embedded, baseline: Embedded, *, nodes: int = 32
) -> Attribution:
    """Integrated gradients on the line from the baseline, by Gauss-Legendre quadrature."""
    # captum.attr.IntegratedGradients gives the same to 1e-7, but rounds its weights to float32,
    # fails where the number does not depend on the embeddings, and never splits a batch of texts
    points, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(nodes))
    path = embeddings - baseline
    rows, length, _ = path.shape
    total = torch.zeros_like(path, dtype=torch.float64)
    for index in torch.split(torch.arange(nodes * rows), max(1, BATCH_TOKENS // length)):
        node, row = index // rows, index % rows
        share = ((points[node] + 1) / 2).to(path)[:, None, None]
        gradients = gradient(response.rows(row), baseline[row] + share * path[row])
        total.index_add_(0, row, weights[node, None, None] / 2 * gradients.double())
    with torch.no_grad():
        change = response(embeddings).double() - response(baseline).double()
    return Attribution((total * path.double()).sum(-1), change)


def adaptive_integrated_gradients(
    response: Response,
    embeddings: Embedded,
    baseline: Embedded,
    *,
    nodes: int = 32,
    doublings: int = 3,
) -> Attribution:
    """Integrated gradients with the number of nodes doubled until they are complete.

    Sharp attention makes the gradient vary along the path, in some texts more than in others; only
    texts with a gap above `TOLERANCE` are repeated, at most `doublings` times.
    """
    attribution = integrated_gradients(response, embeddings, baseline, nodes=nodes)
    for power in range(1, doublings + 1):
        rows = (attribution.gap > TOLERANCE).nonzero()[:, 0]
        if not len(rows):
            break
        parts = (response.rows(rows), embeddings[rows], baseline[rows])
        repeated = integrated_gradients(*parts, nodes=nodes * 2**power)
        values = attribution.values.index_copy(0, rows, repeated.values)
        attribution = Attribution(values, attribution.change)
    return attribution


@torch.no_grad()
def occlusion(
    response: Response, embeddings: Embedded, baseline: Embedded
) -> Float[Tensor, "row time"]:
    """The change of the number if the baseline replaces the embedding of one token."""
    rows, length, _ = embeddings.shape
    unchanged = response(embeddings)
    row = repeat(torch.arange(rows), "row -> (row time)", time=length)
    token = repeat(torch.arange(length), "time -> (row time)", row=rows)
    parts = []
    for index in torch.split(torch.arange(rows * length), max(1, BATCH_TOKENS // length)):
        changed, place = embeddings[row[index]].clone(), torch.arange(len(index))
        changed[place, token[index]] = baseline[row[index], token[index]]
        parts.append(unchanged[row[index]] - response.rows(row[index])(changed))
    return rearrange(torch.cat(parts), "(row time) -> row time", row=rows)
