"""Whether the fitted law has the right shape: its standardised residuals, and what it covers."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens.evidence.normality import NormalScores, expected_distance
from sdelens.evidence.residuals import chi_square_score, directions, is_normal, whitened
from sdelens.evidence.scorecard import past, pieces
from sdelens.laws.law import Law, prefixed
from sdelens.paths.trajectories import Trajectories
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens_plugins.analyzers.common.intervals import bars, estimate, with_interval
from sdelens_plugins.analyzers.goodness_of_fit.sections import SectionSkipped

LEVELS = (0.5, 0.9)
FORMS = {"marginal": "each coordinate's interval", "joint": "the ellipsoid of all"}
NO_GAUSSIAN = (
    "Residuals and coverage are left out: the law is no Gaussian, and standardised residuals "
    "would not be normal even if it were true."
)
TITLES = ("Coordinates of r", "Random projections", "|r|² (normal score)")


@dataclass(frozen=True, eq=False)
class Calibration:
    """Normal scores of the coordinates, of random projections and of the length; coverage."""

    coordinates: NormalScores
    projections: NormalScores
    length: NormalScores
    covered: Interval
    """By form and level."""
    radius: Interval
    """The mean of |r|² per dimension."""

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
        """One pass over latent test paths."""
        found = _Passed(law, groups, dim, projections, seed)
        with torch.no_grad():
            for number, block in enumerate(pieces(paths)):
                if number == 0 and not is_normal(law, block):
                    raise SectionSkipped(NO_GAUSSIAN)
                found.add(block)
        bootstrap = Bootstrap.of(found.count, seed=seed)
        ratios = bootstrap.ratio(found.sums, found.count)
        return cls(*found.series, ratios[:-1], ratios[-1])

    @property
    def series(self) -> tuple[NormalScores, ...]:
        """In the order of the panels."""
        return self.coordinates, self.projections, self.length

    def headline(self) -> str:
        marginal, joint = self.covered[len(LEVELS) - 1], self.covered[-1]
        return (
            f"Its {LEVELS[-1]:.0%} intervals hold {with_interval(marginal, 2)} of the coordinates "
            "and "
            f"its {LEVELS[-1]:.0%} ellipsoids {with_interval(joint, 2)} of the next states."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        chance = f"of 0 to 1 (by chance {expected_distance(self.length.count):.3f})"
        found = [
            estimate(f"inside {form}, {level:.0%}", self.covered[row], f"of {level:g} expected")
            for row, (form, level) in enumerate(
                (form, level) for form in FORMS.values() for level in LEVELS
            )
        ]
        found.append(estimate("mean of |r|² per dimension", self.radius, "of 1 expected"))
        for name, scores in zip(("coordinate", "projection"), self.series[:2], strict=True):
            distance, tails = scores.distance(), scores.moment(4) / scores.moment(2) ** 2 - 3
            found += [
                Estimate(f"PIT's distance from uniform, median {name}", _median(distance), None),
                Estimate(f"PIT's distance from uniform, worst {name}", float(distance.max())),
                Estimate(f"excess kurtosis, median {name}", _median(tails), None, "of 0 expected"),
            ]
        found.append(Estimate("distance of |r|² from chi-square", float(self.length.distance())))
        return tuple(
            Estimate(e.name, e.value, e.stderr, chance) if "distance" in e.name else e
            for e in found
        )

    def arrays(self) -> dict[str, Tensor]:
        z = self._grid
        named = prefixed(covered=self.covered.tensors())
        for name, scores in zip(
            ("coordinates", "projections", "length"), self.series, strict=True
        ):
            named[f"residual.{name}.distance"] = scores.distance()
            named[f"residual.{name}.quantiles"] = scores.quantiles(torch.special.ndtr(z))
        return named | {"residual.normal": z}

    def figures(self) -> tuple[Figure, ...]:
        return self._quantiles(), self._coverage()

    @property
    def _grid(self) -> Float[Tensor, " quantile"]:
        """Normal quantiles beyond which at least ten observations lie."""
        share = torch.tensor(min(10 / max(self.length.count, 1), 0.25), dtype=torch.float64)
        end = float(-torch.special.ndtri(share))
        return torch.linspace(-end, end, 61, dtype=torch.float64)

    def _quantiles(self) -> Figure:
        z = self._grid
        panels = []
        for title, scores in zip(TITLES, self.series, strict=True):
            values = scores.quantiles(torch.special.ndtr(z))
            layers = [Layer("line", {"x": z, "y": z}, "standard normal", 1, dashed=True)]
            if len(values) > 1:
                low, high = (values.quantile(q, dim=0) for q in (0.05, 0.95))
                layers.append(Layer("band", {"x": z, "low": low, "high": high}, "90% of them"))
            middle = values.median(0).values
            layers.append(Layer("line", {"x": z, "y": middle}, "observed (median)"))
            panels.append(Panel("normal quantile", "observed quantile", tuple(layers), title))
        return Figure(
            "residuals",
            tuple(panels),
            "Quantiles of the standardised residuals r on test transitions against those of the "
            f"standard normal: of {self.coordinates.series} coordinates, of "
            f"{self.projections.series} random projections, and of the length. Steeper than the "
            "diagonal is wider than the law says.",
        )

    def _coverage(self) -> Figure:
        words = [f"{form} {level:.0%}" for form in FORMS for level in LEVELS]
        x = torch.arange(len(words)).double()
        nominal = {"x": x, "y": torch.tensor(LEVELS * len(FORMS)).double()}
        layers = (
            bars(self.covered, words),
            Layer("scatter", nominal, "nominal", series=1),
        )
        return Figure(
            "coverage",
            (Panel("", "share inside", layers),),
            "Share of test transitions inside the law's own regions: each coordinate's central "
            "interval (marginal) and the ellipsoid of all coordinates (joint), with 95% intervals "
            "over documents; the dots are what they are meant to hold.",
        )


class _Passed:
    """Sums and counts of one pass."""

    def __init__(
        self, law: Law, groups: Int[Tensor, " document"], dim: int, projections: int, seed: int
    ) -> None:
        self.law, self.groups, self.dim = law, groups, dim
        self.directions = directions(dim, projections, seed)
        self.series = NormalScores(dim), NormalScores(projections), NormalScores(1)
        self.units = int(groups.max()) + 1
        self.count = torch.zeros(self.units, dtype=torch.float64)
        self.sums = torch.zeros(2 * len(LEVELS) + 1, self.units, dtype=torch.float64)

    def add(self, block: Trajectories) -> None:
        predicted, steps = self.law.predict(past(block)), block.steps
        residual, scale = block.states[:, 1:] - predicted.mean, predicted.covariance()
        marginal = (residual / scale.variance().sqrt())[steps].double()
        r = whitened(scale, residual)[steps].double()
        squares = r.square().sum(-1)
        length = chi_square_score(squares, self.dim)
        projected = r @ self.directions.to(r.device)
        for scores, values in zip(self.series, (r, projected, length[:, None]), strict=True):
            scores.add(values)
        unit = self.groups.to(block.document.device)[block.document][:, None]
        unit = unit.expand(steps.shape)[steps]
        inside = [(marginal.abs() <= _normal((1 + q) / 2)).double().mean(-1) for q in LEVELS]
        inside += [(length <= _normal(q)).double() for q in LEVELS]
        self.sums += by_unit(torch.stack([*inside, squares / self.dim]), unit, self.units)
        self.count += by_unit(torch.ones_like(squares), unit, self.units)


def _normal(share: float) -> float:
    """The standard normal quantile."""
    return float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))


def _median(values: Float[Tensor, " series"]) -> float:
    return float(values.median())
