r"""Attribution of a number of the fit to the embeddings of a text's tokens.

For a number f of a text's embeddings :math:`e_1,\ldots,e_n` and a baseline :math:`e'`:

- gradient times input, :math:`e_i\cdot\partial f/\partial e_i`;
- integrated gradients, :math:`(e_i-e_i')\cdot\int_0^1 \partial_i f(e'+a(e-e'))\,da`, which sum to
  :math:`f(e)-f(e')` (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017);
- occlusion, :math:`f(e)-f(e\text{ with }e_i'\text{ for }e_i)`, without approximation, one token
  at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.states.passes import BATCH_TOKENS
from sdelens_plugins.analyzers.importance.response import Embedded, Response

TOLERANCE = 0.02
"""Integrated gradients are complete if their gap is at most this share."""
GRADIENT_TOKENS = BATCH_TOKENS // 4
"""Tokens per pass with gradients, which keeps the values of all layers."""


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
    """The gradient of each row's number; zero if it does not depend on the embeddings."""
    with torch.enable_grad():
        leaf = embeddings.detach().requires_grad_()
        total = response(leaf).sum()
        if not total.requires_grad:
            return torch.zeros_like(embeddings)
        gradients = torch.autograd.grad(total, leaf, allow_unused=True)[0]
    return torch.zeros_like(embeddings) if gradients is None else gradients


def gradient_times_input(
    response: Response, embeddings: Float[Tensor, "time dim"]
) -> Float[Tensor, "row time"]:
    """The contribution of each token to first order."""
    values = torch.zeros(len(response.at), len(embeddings))
    for index in torch.split(torch.arange(len(response.at)), _at_once(response)):
        few = response.rows(index)
        e = embeddings[: len(few.tokens)].expand(len(index), -1, -1)
        values[index, : len(few.tokens)] = (gradient(few, e) * e).sum(-1)
    return values


def integrated_gradients(
    response: Response,
    embeddings: Float[Tensor, "time dim"],
    baseline: Float[Tensor, "time dim"],
    *,
    nodes: int = 32,
) -> Attribution:
    """Integrated gradients on the line from the baseline, by Gauss-Legendre quadrature."""
    # captum.attr.IntegratedGradients gives the same to 1e-7, but rounds its weights to float32,
    # fails where the number does not depend on the embeddings, and never splits a batch of texts
    start = torch.zeros(len(response.at), dtype=torch.float64)
    return _on_parts(response, embeddings, baseline, start, 1.0, nodes)


def _on_parts(
    response: Response,
    embeddings: Float[Tensor, "time dim"],
    baseline: Float[Tensor, "time dim"],
    start: Float[Tensor, " row"],
    length: float,
    nodes: int,
) -> Attribution:
    """Integrated gradients of each row on a part of the line, of this length."""
    points, weights = map(torch.from_numpy, np.polynomial.legendre.leggauss(nodes))
    path, count = embeddings - baseline, len(response.at)
    total = torch.zeros(count, *path.shape, dtype=torch.float64)
    for index in torch.split(torch.arange(count * nodes), _at_once(response)):
        row, node = index // nodes, index % nodes
        few = response.rows(row)
        end = len(few.tokens)
        share = start[row] + length * (points[node] + 1) / 2
        e = baseline[:end] + share.to(path)[:, None, None] * path[:end]
        weight = length * weights[node, None, None] / 2
        total[:, :end].index_add_(0, row, weight * gradient(few, e).double())
    first, last = (_at_shares(response, embeddings, baseline, start + x) for x in (0.0, length))
    return Attribution((total * path.double()).sum(-1), last - first)


@torch.no_grad()
def _at_shares(
    response: Response,
    embeddings: Float[Tensor, "time dim"],
    baseline: Float[Tensor, "time dim"],
    share: Float[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """The number of each row at a point of the line; rows at the same point share a pass."""
    found = torch.zeros(len(share), dtype=torch.float64)
    for point in torch.unique(share):
        rows = (share == point).nonzero()[:, 0]
        few = response.rows(rows)
        end = len(few.tokens)
        e = torch.lerp(baseline[:end], embeddings[:end], float(point))
        found[rows] = few.everywhere(e).double()
    return found


def _at_once(response: Response) -> int:
    """Rows per pass with gradients."""
    return max(1, GRADIENT_TOKENS // len(response.tokens))


def adaptive_integrated_gradients(
    response: Response,
    embeddings: Float[Tensor, "time dim"],
    baseline: Float[Tensor, "time dim"],
    *,
    nodes: int = 32,
    halvings: int = 5,
) -> Attribution:
    """Integrated gradients, with parts of the line halved until they are complete.

    Sharp attention makes the gradient vary on a short part of the line. What is missing is known
    for each part, from the numbers at its ends: at positions with a gap above `TOLERANCE`, parts
    that miss more than half as much are halved, with `nodes` nodes in each half.
    """
    row = torch.arange(len(response.at))
    start, length = torch.zeros(len(row), dtype=torch.float64), 1.0
    total = _on_parts(response, embeddings, baseline, start, length, nodes)
    part, values = total, total.values
    for _ in range(halvings):
        gaps = Attribution(values, total.change).gap
        size = values.abs().sum(-1)[row]
        missing = (part.values.sum(-1) - part.change).abs()
        again = (gaps[row] > TOLERANCE) & (missing > TOLERANCE / 2 * size)
        if not again.any():
            break
        values = values.index_add(0, row[again], -part.values[again])
        row, start = row[again].repeat(2), start[again]
        length /= 2
        start = torch.cat([start, start + length])
        few = response.rows(row)
        end = len(few.tokens)
        part = _on_parts(few, embeddings[:end], baseline[:end], start, length, nodes)
        wide = torch.nn.functional.pad(part.values, (0, values.shape[1] - end))
        part = Attribution(wide, part.change)
        values = values.index_add(0, row, wide)
    return Attribution(values, total.change)


@torch.no_grad()
def occlusion(
    responses: Sequence[Response],
    embeddings: Float[Tensor, "time dim"],
    baseline: Float[Tensor, "time dim"],
) -> list[Float[Tensor, "row time"]]:
    """The change of each number if the baseline replaces the embedding of one token.

    The responses differ in their number only; one pass for each token gives them all.
    """
    first, time = responses[0], len(embeddings)
    values = [torch.zeros(len(first.at), time) for _ in responses]
    unchanged = first.states(embeddings[None])[0, first.at]
    for index in torch.split(torch.arange(time), max(1, BATCH_TOKENS // time)):
        changed = embeddings.repeat(len(index), 1, 1)
        changed[torch.arange(len(index)), index] = baseline[index]
        for token, states in zip(index.tolist(), first.states(changed), strict=True):
            rows = (first.at >= token).nonzero()[:, 0]
            if not len(rows):
                continue
            for response, found in zip(responses, values, strict=True):
                few = response.rows(rows)
                before, after = (few.of_states(x) for x in (unchanged[rows], states[few.at]))
                found[rows, token] = before - after
    return values
