"""Calibration of the fitted law: its standardised residuals and the coverage of its regions."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.stats import chi2
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.interval import Interval
from sdelens.evidence.normality import NormalScores
from sdelens.evidence.residuals import chi_square_score, directions, is_normal
from sdelens.evidence.scorecard import past, pieces
from sdelens.laws.law import Law
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.analyzers.goodness_of_fit.section_skipped import SectionSkipped

LEVELS = (0.5, 0.9)
REGIONS = {"marginal": "each coordinate's interval", "joint": "the ellipsoid of all"}
NOT_GAUSSIAN = (
    "Residuals and coverage are left out: the law is not Gaussian, so standardised residuals "
    "would not be normal even if it were true."
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Normal scores of the standardised residuals r, and coverage of the law's regions."""

    coordinates: NormalScores
    projections: NormalScores
    length: NormalScores
    coverage: Interval
    """By region and level."""
    radius: Interval
    """The mean of |r|² per dimension."""
    log_squares: NormalScores
    """The logarithm of |r|² per dimension."""
    dim: int

    @classmethod
    def of(
        cls,
        law: Law,
        paths: Iterable[Trajectories],
        groups: Int[Tensor, " document"],
        *,
        dim: int,
        projections: int,
        seed: int,
    ) -> "Calibration":
        """Measured in one pass over latent test paths.

        Raises `SectionSkipped` for a law that is not Gaussian.
        """
        totals = _Totals(law, groups, dim, projections, seed)
        with torch.no_grad():
            for number, block in enumerate(pieces(paths)):
                if number == 0 and not is_normal(law, block):
                    raise SectionSkipped(NOT_GAUSSIAN)
                totals.add(block)
        ratios = Interval.ratio(totals.sums, totals.count)
        coverage = ratios[:-1].map(lambda end: end.clamp(0, 1))
        return cls(*totals.series, coverage, ratios[-1], totals.log_squares, dim)

    @property
    def series(self) -> tuple[NormalScores, ...]:
        """The scores of coordinates, projections and length."""
        return self.coordinates, self.projections, self.length

    def square_quantiles(self, shares: Float[Tensor, " share"]) -> Float[Tensor, " share"]:
        """Quantiles of |r|² per dimension under the law, a chi-square divided by d."""
        return torch.from_numpy(chi2.ppf(shares.numpy(), self.dim)) / self.dim

    @property
    def normal_quantiles(self) -> Float[Tensor, " quantile"]:
        """A grid of normal quantiles with at least ten observations beyond either end."""
        share = torch.tensor(min(10 / max(self.length.count, 1), 0.25), dtype=torch.float64)
        end = float(-torch.special.ndtri(share))
        return torch.linspace(-end, end, 61, dtype=torch.float64)


class _Totals:
    """Sums and counts of one pass, by document."""

    def __init__(
        self, law: Law, groups: Int[Tensor, " document"], dim: int, projections: int, seed: int
    ) -> None:
        self.law, self.groups, self.dim = law, groups, dim
        self.directions = directions(dim, projections, seed)
        self.series = NormalScores(dim), NormalScores(projections), NormalScores(1)
        self.log_squares = NormalScores(1)
        self.units = int(groups.max()) + 1
        self.count = torch.zeros(self.units, dtype=torch.float64)
        self.sums = torch.zeros(2 * len(LEVELS) + 1, self.units, dtype=torch.float64)

    def add(self, block: Trajectories) -> None:
        predicted, steps = self.law.predict(past(block)), block.steps
        residual, scale = block.states[:, 1:] - predicted.mean, predicted.covariance()
        marginal = (residual / scale.variance().sqrt())[steps].double()
        r = scale.whiten(residual)[steps].double()
        squares = r.square().sum(-1)
        length = chi_square_score(squares, self.dim)
        projected = r @ self.directions.to(r.device)
        for scores, values in zip(self.series, (r, projected, length[:, None]), strict=True):
            scores.add(values)
        self.log_squares.add((squares / self.dim).log()[:, None])
        unit = self.groups.to(block.document.device)[block.document][:, None]
        unit = unit.expand(steps.shape)[steps]
        central = [marginal.abs() <= _normal_quantile((1 + q) / 2) for q in LEVELS]
        inside = [coordinates.double().mean(-1) for coordinates in central]
        inside += [(length <= _normal_quantile(q)).double() for q in LEVELS]
        self.sums += by_unit(torch.stack([*inside, squares / self.dim]), unit, self.units)
        self.count += by_unit(torch.ones_like(squares), unit, self.units)


def _normal_quantile(share: float) -> float:
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
