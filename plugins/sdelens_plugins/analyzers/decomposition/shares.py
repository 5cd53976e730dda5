r"""What the motion of states is made of, beside the model's own law of the next state.

In the metric M, with :math:`c_k=\sum_{i\le k}\beta_i D_i` the best combination of the first k
predictors and :math:`R_k=E|m^*-x-c_k|^2`, the motion :math:`T=E|X'-x|^2` falls into

- drift :math:`R_0-R_1`, which is :math:`g_1^2E|D_1|^2` with the gain
  :math:`g_1=E\langle D_1,m^*-x\rangle/E|D_1|^2`,
- misfit :math:`R_1-R_2` and memory :math:`R_2-R_3`, the same of D2 and D3 made orthogonal to those
  before,
- unreached :math:`R_3`, and the sampler's noise :math:`E\,\mathrm{tr}\,MS^*`,

by Pythagoras' theorem. The coefficients for a document are from the other documents only, so that
every part is unbiased given them; one that is nothing may come out negative.

Much of the drift of a stationary process is its return to the mean, which takes no knowledge of
what a state says. Its share is that of D0 = (mean at the next position) - x alone, with a
coefficient of its own; it is no further part, but what drift is to be compared with.

Where the texts are not the model's own, the increments that occurred take the place of
:math:`m^*-x` in coefficients and parts, and what they leave is split in two: what next tokens of
the model's own law leave, and the rest, by which the text is not the model.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.next_state_moments import NextStateMoments
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval

PARTS = ("drift", "misfit", "memory", "unreached", "sampler")
"""Of texts that the model wrote."""
FOREIGN = ("drift", "misfit", "memory", "text", "model")
"""Of other texts: by what the text is not the model, and what is left under the model's law."""
FOLDS = 5
_SIZE = 3
_BACK, _AHEAD, _REAL = _SIZE, _SIZE + 1, _SIZE + 2


@dataclass(frozen=True, eq=False)
class Products:
    """Sums over prefixes of inner products in the metric, per dimension."""

    gram: Float[Tensor, "*cell vector vector"]
    """Of D1, D2, D3, D0, the branches' mean increment and the increment that occurred."""
    error: Float[Tensor, "*cell"]
    """By which the square of the branches' mean increment is too large."""
    noise: Float[Tensor, "*cell"]
    count: Float[Tensor, "*cell"]

    @classmethod
    def zeros(cls, cells: int, units: int) -> "Products":
        """Of nothing, by cell and unit."""
        shape, size = (cells, units), _REAL + 1
        gram = torch.zeros(*shape, size, size, dtype=torch.float64)
        return cls(gram, *(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))

    def add(
        self,
        predicted: Float[Tensor, "predictor row latent"],
        x: Float[Tensor, "row latent"],
        ahead: NextStateMoments,
        following: Float[Tensor, "row latent"],
        weights: Float[Tensor, " latent"],
        cell: Int[Tensor, " row"],
        unit: Int[Tensor, " row"],
    ) -> "Products":
        """With more prefixes."""
        increments = torch.stack([ahead.mean - x, following - x])
        vectors = torch.cat([predicted, increments]).double() * (weights / len(weights)).sqrt()
        gram = torch.einsum("vrl,wrl->vwr", vectors, vectors).flatten(0, 1)
        each = (ahead.error(weights), ahead.noise(weights), torch.ones(len(x)))
        columns = torch.cat([gram, torch.stack([part.double() for part in each])])
        cells, units = self.count.shape
        sums = by_unit(columns, cell * units + unit, cells * units).reshape(-1, cells, units)
        squares = sums[:-3].movedim(0, -1).reshape(self.gram.shape)
        parts = zip((self.error, self.noise, self.count), sums[-3:], strict=True)
        return Products(self.gram + squares, *(old + new for old, new in parts))

    def over(self, cells: Float[Tensor, "group cell"]) -> "Products":
        """Sums over groups of cells."""
        rest = (cells @ part for part in (self.error, self.noise, self.count))
        return Products(torch.einsum("gc,cuvw->guvw", cells, self.gram), *rest)

    @property
    def branched(self) -> Float[Tensor, "*cell"]:
        """The motion to the branches, without bias."""
        return self.gram[..., _AHEAD, _AHEAD] - self.error + self.noise

    @property
    def occurred(self) -> Float[Tensor, "*cell"]:
        """The motion that occurred."""
        return self.gram[..., _REAL, _REAL]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Shares of the motion by group, with intervals over documents."""

    names: tuple[str, ...]
    shares: Interval
    """``[group, part]``."""
    reversion: Interval
    """Of each group the share of the return to the mean alone: for comparison, no part."""
    gains: Interval
    """Of D1, and of D2 and D3 made orthogonal to those before: 1 is calibrated."""
    motion: Interval
    """Of each group: per dimension, in training variances."""
    discrepancy: Interval
    """Of all: the motion to the branches less that which occurred, over the latter."""
    count: Float[Tensor, " group"]
    units: int

    @classmethod
    def of(
        cls, products: Products, groups: Float[Tensor, "group cell"], *, own: bool, seed: int
    ) -> "Decomposition":
        """The first group is everything; `own` says whether the model wrote the texts."""
        grouped = products.over(groups)
        whole = Products(*(part[0] for part in vars(grouped).values()))
        bootstrap = Bootstrap.of(whole.count, seed=seed)
        target = _AHEAD if own else _REAL
        coefficients = crossed(whole.gram, whole.count, target)
        parts = torch.stack(_parts(grouped, coefficients, own), 1)
        total = grouped.branched if own else grouped.occurred
        back = _reversion(grouped, whole, target)
        difference = whole.branched - whole.occurred
        return cls(
            PARTS if own else FOREIGN,
            bootstrap.ratio(parts, total[:, None].expand(parts.shape)),
            bootstrap.ratio(back, total),
            _gains(whole.gram, bootstrap, target),
            bootstrap.ratio(total, grouped.count),
            bootstrap.ratio(difference, whole.occurred),
            grouped.count.sum(-1),
            bootstrap.documents,
        )


def crossed(
    gram: Float[Tensor, "unit vector vector"],
    count: Float[Tensor, " unit"],
    target: int,
    size: int = _SIZE,
) -> Float[Tensor, "level unit predictor"]:
    """For each unit the coefficients of the first 0, 1, 2, 3 predictors by the other folds."""
    seen = count > 0
    fold = ((seen.long().cumsum(0) - 1) % FOLDS).where(seen, 0)
    found = torch.zeros(size + 1, len(count), size, dtype=torch.float64)
    alone = int(seen.sum()) < 2
    for number in range(FOLDS):
        mine = fold == number
        others = gram if alone else gram[~mine]
        for level in range(1, size + 1):
            found[level, mine, :level] = _solved(others.sum(0), level, target)
    return found


def _solved(
    gram: Float[Tensor, "*batch vector vector"], level: int, target: int
) -> Float[Tensor, "*batch level"]:
    """Least squares on the first predictors; those that are nothing get no weight."""
    inner, cross = gram[..., :level, :level], gram[..., :level, target]
    size = inner.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    scaled = inner / (size[..., None] * size[..., None, :])
    solved = torch.linalg.pinv(scaled, rtol=1e-9, hermitian=True) @ (cross / size)[..., None]
    found: Tensor = solved[..., 0] / size
    return found


def _parts(grouped: Products, coefficients: Tensor, own: bool) -> list[Tensor]:
    """What each step of the way explains, and what is left of it."""
    target = _AHEAD if own else _REAL
    left = [_left(grouped.gram, beta, target) for beta in coefficients]
    explained = [before - after for before, after in pairwise(left)]
    if own:
        return [*explained, left[-1] - grouped.error, grouped.noise]
    model = _left(grouped.gram, coefficients[-1], _AHEAD) - grouped.error + grouped.noise
    return [*explained, left[-1] - model, model]


def _reversion(grouped: Products, whole: Products, target: int) -> Float[Tensor, "group unit"]:
    """What the return to the mean explains by itself."""
    pair = torch.tensor([_BACK, target])
    few, all_of = (part.gram[..., pair, :][..., pair] for part in (grouped, whole))
    nothing, back = (_left(few, beta, 1) for beta in crossed(all_of, whole.count, 1, size=1))
    return nothing - back


def _left(
    gram: Float[Tensor, "group unit vector vector"],
    beta: Float[Tensor, "unit predictor"],
    target: int,
) -> Float[Tensor, "group unit"]:
    """The squared length of the target less a combination of predictors."""
    vector = torch.zeros(len(beta), gram.shape[-1], dtype=torch.float64)
    vector[:, : beta.shape[1]], vector[:, target] = -beta, 1.0
    return torch.einsum("uv,guvw,uw->gu", vector, gram, vector)


def _gains(gram: Tensor, bootstrap: Bootstrap, target: int) -> Interval:
    """Of each predictor beside those before it, on all documents."""

    def last(sums: Tensor) -> Tensor:
        each = (_solved(sums, level, target)[..., -1] for level in range(1, _SIZE + 1))
        return torch.stack(list(each))

    drawn = torch.einsum("ru,uvw->rvw", bootstrap.weights, gram)
    return bootstrap.interval(last(gram.sum(0)), last(drawn))
