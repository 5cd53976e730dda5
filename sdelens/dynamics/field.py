r"""Drift in a plane or along a line: its value and derivatives at the nodes of a grid.

For a field :math:`f = (f_1, f_2)` in the coordinates :math:`(a, b)` of the plane, the divergence
is :math:`\partial_a f_1 + \partial_b f_2` and the curl :math:`\partial_a f_2 - \partial_b f_1`.
Both refer to the field in the plane, not to the drift in all coordinates.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap
from sdelens.laws.jets import jacobian

ROWS = 512
"""States per batch, to limit memory."""
REPLICATES = 200
RIDGE = 1e-6
"""Relative ridge, so that nodes with collinear states have a slope."""


@dataclass(frozen=True, eq=False)
class PlaneField:
    """A field and its derivatives at nodes, with bootstrap errors over documents if available."""

    nodes: Float[Tensor, "node 2"]
    value: Float[Tensor, "node 2"]
    slope: Float[Tensor, "node 2 2"]
    """``slope[:, i, j]`` is the derivative of component i along coordinate j."""
    value_stderr: Float[Tensor, "node 2"] | None = None
    divergence_stderr: Float[Tensor, " node"] | None = None
    curl_stderr: Float[Tensor, " node"] | None = None

    @property
    def divergence(self) -> Float[Tensor, " node"]:
        """Divergence: the trace of the derivative."""
        return divergence(self.slope)

    @property
    def curl(self) -> Float[Tensor, " node"]:
        """Curl: the counterclockwise rotation of the field."""
        return curl(self.slope)

    @property
    def magnitude(self) -> Float[Tensor, " node"]:
        """Length of the field vectors."""
        length: Tensor = self.value.norm(dim=-1)
        return length


def divergence(slope: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch"]:
    """Trace of a derivative matrix."""
    return slope[..., 0, 0] + slope[..., 1, 1]


def curl(slope: Float[Tensor, "*batch 2 2"]) -> Float[Tensor, "*batch"]:
    """Curl of a derivative matrix, twice its antisymmetric part."""
    return slope[..., 1, 0] - slope[..., 0, 1]


def sliced(field: Callable[[Tensor], Tensor], nodes: Float[Tensor, "node 2"]) -> PlaneField:
    """A field that depends only on the plane; derivatives by forward-mode differentiation."""
    return PlaneField(nodes, field(nodes).double(), jacobian(field, nodes).double())


def averaged(
    nodes: Float[Tensor, "node 2"],
    points: Float[Tensor, "state 2"],
    values: Float[Tensor, "state 2"],
    document: Int[Tensor, " state"],
    *,
    width: Float[Tensor, "2"],
    seed: int,
) -> PlaneField:
    """The conditional expectation of the values given the plane, by local linear regression.

    At each node, values are regressed on the displacement from it with Gaussian weights of
    standard deviation `width`. The intercept estimates the field and the slope its derivative;
    linear fields are recovered without bias (Fan 1993). Errors are bootstrapped over documents.
    """
    (value, slope), again = _regressions(nodes, points, values, document, width, seed)
    if again is None:
        return PlaneField(nodes, value, slope)
    values, slopes = again
    errors = values.std(0), divergence(slopes).std(0), curl(slopes).std(0)
    return PlaneField(nodes, value, slope, *errors)


@dataclass(frozen=True, eq=False)
class LineField:
    """A function along a line and its slope, with bootstrap errors over documents if available."""

    nodes: Float[Tensor, " node"]
    value: Float[Tensor, " node"]
    slope: Float[Tensor, " node"]
    value_stderr: Float[Tensor, " node"] | None = None
    slope_stderr: Float[Tensor, " node"] | None = None


def averaged_on_line(
    nodes: Float[Tensor, " node"],
    points: Float[Tensor, " state"],
    values: Float[Tensor, " state"],
    document: Int[Tensor, " state"],
    *,
    width: float,
    seed: int,
) -> LineField:
    """The conditional expectation along a line, by local linear regression as in `averaged`."""
    scale = torch.tensor([width], dtype=torch.float64)
    (value, slope), again = _regressions(
        nodes[:, None], points[:, None], values[:, None], document, scale, seed
    )
    errors = () if again is None else (again[0].std(0)[:, 0], again[1].std(0)[:, 0, 0])
    return LineField(nodes, value[:, 0], slope[:, 0, 0], *errors)


def _regressions(
    nodes: Float[Tensor, "node axis"],
    points: Float[Tensor, "state axis"],
    values: Float[Tensor, "state axis"],
    document: Int[Tensor, " state"],
    width: Float[Tensor, " axis"],
    seed: int,
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor] | None]:
    """Values and slopes at the nodes, and their bootstrap replicates; None for one document."""
    sums = _sums(nodes, points, values, document, width)
    found = _solved(sums.sum(0), width)
    if len(sums) < 2:
        return found, None
    draws = Bootstrap.of(torch.ones(len(sums)), seed=seed, replicates=REPLICATES).weights
    return found, _solved(torch.einsum("rd,dnk->rnk", draws, sums), width)


def _sums(
    nodes: Tensor, points: Tensor, values: Tensor, document: Tensor, width: Tensor
) -> Float[Tensor, "document node product"]:
    """Weighted sums of squares and products by document, sufficient for the regressions."""
    count = (1 + len(width)) * (1 + 2 * len(width))
    total = torch.zeros(int(document.max()) + 1, len(nodes), count, dtype=torch.float64)
    for rows in torch.arange(len(points)).chunk(-(-len(points) // ROWS)):
        away = (points[rows, None].double() - nodes.double()) / width
        weight = torch.exp(-away.square().sum(-1) / 2)[..., None]
        seen = torch.cat([torch.ones_like(weight), away], dim=-1)
        told = values[rows, None].double().expand(*away.shape)
        gram, cross = (
            rearrange(
                seen[..., :, None] * each[..., None, :], "... row column -> ... (row column)"
            )
            for each in (seen, told)
        )
        total.index_add_(0, document[rows], weight * torch.cat([gram, cross], dim=-1))
    return total


def _solved(sums: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """Solve for intercept and slope at each node."""
    row = 1 + len(width)
    gram, cross = (
        rearrange(part, "... (row column) -> ... row column", row=row)
        for part in (sums[..., : row**2], sums[..., row**2 :])
    )
    ridge = (RIDGE * gram.diagonal(dim1=-2, dim2=-1) + 1e-300).diag_embed()
    solution: Tensor = torch.linalg.solve(gram + ridge, cross)
    return solution[..., 0, :], solution[..., 1:, :].mT / width
