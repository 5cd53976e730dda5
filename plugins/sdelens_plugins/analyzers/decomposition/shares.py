r"""Decomposition of the motion of states under the model's own law of the next state.

In the metric M, with :math:`c_k=\sum_{i\le k}\beta_i D_i` the best combination of the first k
predictors and :math:`R_k=E|m^*-x-c_k|^2`, the motion :math:`T=E|X'-x|^2` is the sum of

- drift :math:`R_0-R_1`, which is :math:`g_1^2E|D_1|^2` with the gain
  :math:`g_1=E\langle D_1,m^*-x\rangle/E|D_1|^2`,
- lack of fit :math:`R_1-R_2` and memory :math:`R_2-R_3`, the same for D2 and D3 made orthogonal
  to the predictors before them,
- the unexplained part :math:`R_3`, and sampling noise :math:`E\,\mathrm{tr}\,MS^*`,

by Pythagoras' theorem. The coefficients for a document come from the other documents, so that
every part is unbiased given them; a part that is zero may come out negative.

Much of the drift of a stationary process is its return to the mean, which needs no information
from the state. Its share is that of D0 = (mean at the next position) - x alone, with its own
coefficient. It is not a further part, but a reference for drift.

The analyzer ``drift_share`` has another share, :math:`1-E|X'-m|^2/T`, which needs no model and
does not rescale the drift (`sdelens.language.increment_shares`).

If the texts are not the model's own, the increments that occurred replace :math:`m^*-x` in
coefficients and parts. What they leave is split into what next tokens of the model's own law would
leave, and the mismatch of text and model.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.next_state_moments import NextStateMoments
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval

PREDICTORS = ("drift", "lack_of_fit", "memory")
PARTS = (*PREDICTORS, "unexplained", "sampling_noise")
"""The parts of the motion of texts that the model wrote."""
OTHER_TEXT_PARTS = (*PREDICTORS, "mismatch", "model_residual")
"""The parts of the motion of other texts."""
FOLDS = 5
_REVERSION, _BRANCHED, _OCCURRED = range(len(PREDICTORS), len(PREDICTORS) + 3)
"""Indices of D0, of the branches' mean increment and of the increment that occurred."""


@dataclass(frozen=True, eq=False)
class IncrementProducts:
    """Sums over prefixes of inner products of predictors and increments, per dimension."""

    gram: Float[Tensor, "*cell vector vector"]
    """Of D1, D2, D3, D0, the branches' mean increment and the increment that occurred."""
    error: Float[Tensor, "*cell"]
    """The bias of the square of the branches' mean increment."""
    noise: Float[Tensor, "*cell"]
    count: Float[Tensor, "*cell"]

    @classmethod
    def zeros(cls, cells: int, units: int) -> "IncrementProducts":
        """Zero sums per cell and unit."""
        shape, size = (cells, units), _OCCURRED + 1
        gram = torch.zeros(*shape, size, size, dtype=torch.float64)
        return cls(gram, *(torch.zeros(shape, dtype=torch.float64) for _ in range(3)))

    def add(
        self,
        predicted: Float[Tensor, "predictor row latent"],
        x: Float[Tensor, "row latent"],
        moments: NextStateMoments,
        following: Float[Tensor, "row latent"],
        weights: Float[Tensor, " latent"],
        cell: Int[Tensor, " row"],
        unit: Int[Tensor, " row"],
    ) -> "IncrementProducts":
        """The sums with more prefixes."""
        increments = torch.stack([moments.mean - x, following - x])
        vectors = torch.cat([predicted, increments]).double() * (weights / len(weights)).sqrt()
        gram = rearrange(torch.einsum("vrl,wrl->vwr", vectors, vectors), "v w row -> (v w) row")
        scalars = (moments.error(weights), moments.noise(weights), torch.ones(len(x)))
        columns = torch.cat([gram, torch.stack([part.double() for part in scalars])])
        cells, units = self.count.shape
        sums = by_unit(columns, cell * units + unit, cells * units)
        sums = rearrange(sums, "product (cell unit) -> product cell unit", unit=units)
        squares = rearrange(sums[:-3], "(v w) cell unit -> cell unit v w", v=len(vectors))
        totals = zip((self.error, self.noise, self.count), sums[-3:], strict=True)
        return IncrementProducts(self.gram + squares, *(old + new for old, new in totals))

    def over(self, cells: Float[Tensor, "group cell"]) -> "IncrementProducts":
        """Sums over groups of cells."""
        rest = (cells @ part for part in (self.error, self.noise, self.count))
        return IncrementProducts(torch.einsum("gc,cuvw->guvw", cells, self.gram), *rest)

    @property
    def branched(self) -> Float[Tensor, "*cell"]:
        """The motion to the branches, without bias."""
        return self.gram[..., _BRANCHED, _BRANCHED] - self.error + self.noise

    @property
    def occurred(self) -> Float[Tensor, "*cell"]:
        """The motion that occurred."""
        return self.gram[..., _OCCURRED, _OCCURRED]


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Shares of the motion by group, with intervals over documents."""

    names: tuple[str, ...]
    shares: Interval
    """``[group, part]``."""
    reversion: Interval
    """The share of the return to the mean alone, by group; not a part of the sum."""
    gains: Interval
    """The gains of D1, and of D2 and D3 made orthogonal to those before: 1 is calibrated."""
    motion: Interval
    """The motion of each group, per dimension, in training variances."""
    discrepancy: Interval
    """The motion to the branches over the motion that occurred, minus 1, of all prefixes."""
    count: Float[Tensor, " group"]
    units: int

    @classmethod
    def of(
        cls,
        products: IncrementProducts,
        groups: Float[Tensor, "group cell"],
        *,
        own: bool,
        seed: int,
    ) -> "Decomposition":
        """Decomposes each group; the first one is all prefixes.

        `own` says whether the model wrote the texts.
        """
        grouped = products.over(groups)
        whole = IncrementProducts(*(part[0] for part in vars(grouped).values()))
        bootstrap = Bootstrap.of(whole.count, seed=seed)
        target = _BRANCHED if own else _OCCURRED
        coefficients = cross_fitted(whole.gram, whole.count, target)
        parts = torch.stack(_parts(grouped, coefficients, own), 1)
        total = grouped.branched if own else grouped.occurred
        reversion = _reversion(grouped, whole, target)
        difference = whole.branched - whole.occurred
        return cls(
            PARTS if own else OTHER_TEXT_PARTS,
            Interval.ratio(parts, total[:, None].expand(parts.shape)),
            Interval.ratio(reversion, total),
            _gains(whole.gram, bootstrap, target),
            Interval.ratio(total, grouped.count),
            Interval.ratio(difference, whole.occurred),
            grouped.count.sum(-1),
            bootstrap.documents,
        )


def cross_fitted(
    gram: Float[Tensor, "unit vector vector"],
    count: Float[Tensor, " unit"],
    target: int,
    size: int = len(PREDICTORS),
) -> Float[Tensor, "level unit predictor"]:
    """The coefficients of the first 0, 1, 2, 3 predictors for each unit, from the other folds."""
    seen = count > 0
    fold = ((seen.long().cumsum(0) - 1) % FOLDS).where(seen, 0)
    coefficients = torch.zeros(size + 1, len(count), size, dtype=torch.float64)
    single = int(seen.sum()) < 2
    for number in range(FOLDS):
        inside = fold == number
        others = gram if single else gram[~inside]
        for level in range(1, size + 1):
            coefficients[level, inside, :level] = _least_squares(others.sum(0), level, target)
    return coefficients


def _least_squares(
    gram: Float[Tensor, "*batch vector vector"], level: int, target: int
) -> Float[Tensor, "*batch level"]:
    """Least-squares coefficients of the first `level` predictors; vanishing ones get zero."""
    inner, cross = gram[..., :level, :level], gram[..., :level, target]
    size = inner.diagonal(dim1=-2, dim2=-1).clamp(min=1e-300).sqrt()
    scaled = inner / (size[..., None] * size[..., None, :])
    solved = torch.linalg.pinv(scaled, rtol=1e-9, hermitian=True) @ (cross / size)[..., None]
    coefficients: Tensor = solved[..., 0] / size
    return coefficients


def _parts(grouped: IncrementProducts, coefficients: Tensor, own: bool) -> list[Tensor]:
    """The part of each predictor, and the two parts of the rest."""
    target = _BRANCHED if own else _OCCURRED
    left = [_squared_residual(grouped.gram, beta, target) for beta in coefficients]
    explained = [before - after for before, after in pairwise(left)]
    if own:
        return [*explained, left[-1] - grouped.error, grouped.noise]
    residual = _squared_residual(grouped.gram, coefficients[-1], _BRANCHED)
    model = residual - grouped.error + grouped.noise
    return [*explained, left[-1] - model, model]


def _reversion(
    grouped: IncrementProducts, whole: IncrementProducts, target: int
) -> Float[Tensor, "group unit"]:
    """The motion that the return to the mean explains by itself."""
    pair = torch.tensor([_REVERSION, target])
    grams, whole_gram = (part.gram[..., pair, :][..., pair] for part in (grouped, whole))
    coefficients = cross_fitted(whole_gram, whole.count, 1, size=1)
    before, after = (_squared_residual(grams, beta, 1) for beta in coefficients)
    return before - after


def _squared_residual(
    gram: Float[Tensor, "group unit vector vector"],
    beta: Float[Tensor, "unit predictor"],
    target: int,
) -> Float[Tensor, "group unit"]:
    """The squared length of the target minus a combination of predictors."""
    vector = torch.zeros(len(beta), gram.shape[-1], dtype=torch.float64)
    vector[:, : beta.shape[1]], vector[:, target] = -beta, 1.0
    return torch.einsum("uv,guvw,uw->gu", vector, gram, vector)


def _gains(gram: Tensor, bootstrap: Bootstrap, target: int) -> Interval:
    """The gain of each predictor beside those before it, on all documents."""

    def gains(sums: Tensor) -> Tensor:
        levels = range(1, len(PREDICTORS) + 1)
        return torch.stack([_least_squares(sums, k, target)[..., -1] for k in levels])

    drawn = torch.einsum("ru,uvw->rvw", bootstrap.weights, gram)
    return bootstrap.interval(gains(gram.sum(0)), gains(drawn))
