"""Lipschitz and growth constants: whether the coefficients define a process (the paper's 3.1)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.lipschitz import Bound, drift_bound, noise_bound
from sdelens.dynamics.region import Region
from sdelens.dynamics.regularity import Regularity
from sdelens.dynamics.sample import Sample
from sdelens.estimation.ratio import Ratio, summed
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.laws.sde import SDE
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.settings import require_at_least
from sdelens.summary import KIND

ROUNDING = 1e-6
"""A smaller error is the rounding of float32."""
RADII = (1.5, 2.0, 3.0)
"""Radii of the shells, in radii of the data."""
READING = (
    "A Lipschitz constant lies between the largest slope at a sampled state and the bound from "
    "the weights, which holds everywhere and is often far too large. Both are in the coordinates "
    "of the fit and depend on their scale. For a perceptron with a smooth activation both "
    "constants are finite after any training: this is a property of the architecture and not of "
    "the data. If drift and sigma are Lipschitz and grow at most linearly, the SDE has a unique "
    "strong solution from every start (Picard and Lindelöf; Itô), which does not make it stable "
    "or correct. States in random order have a drift with constant 1/dt, a random walk one of 0. "
    "Slopes on shells beyond the data are extrapolation."
)


@dataclass(frozen=True)
class WellPosednessAnalyzer:
    """Lipschitz constants of drift and sigma, and linear growth, out to 3 radii of the data.

    Computes slopes at `states` held-out states, and at as many on each shell.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = KIND
    cost: ClassVar[str] = "seconds"

    states: int = 1024

    def __post_init__(self) -> None:
        require_at_least(self, states=2)

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        del seed  # nothing is drawn
        view, viewed = study.single
        fitted = viewed.fitted
        train, test = Sample.of(viewed.train), Sample.of(viewed.test, self.states)
        region = Region.of(fitted.basis.encode(train.t, train.x))
        constants = LipschitzConstants.of(fitted, fitted.sde, test, region)
        laws = [law for law in fitted.members if isinstance(law, SDE)]
        members = [LipschitzConstants.of(fitted, law, test, region) for law in laws]
        return Finding(
            view=str(view),
            headline=constants.headline(),
            reading=f"{constants.guarantee()} {READING}",
            estimates=constants.estimates(members),
            arrays=constants.arrays(),
            figures=constants.figures(),
        )


@dataclass(frozen=True, eq=False)
class LipschitzConstants:
    """Sampled slopes by distance from the data, and bounds from the weights."""

    slopes: tuple[Regularity, ...]
    """At held-out states, and on each shell."""
    drift: Bound
    noise: Bound
    test: Sample
    dt: float
    density: str

    @classmethod
    def of(cls, fitted: Fitted, sde: SDE, test: Sample, region: Region) -> "LipschitzConstants":
        """Constants of one law at held-out states and on shells in their directions."""
        x = fitted.basis.encode(test.t, test.x)
        shells = [x, *(region.shell(x, radius) for radius in RADII)]
        drift, noise = drift_bound(sde), noise_bound(sde)
        slopes = (Regularity.of(sde, test.t.to(x), y, region.centre) for y in shells)
        exact = tuple(_with_exact_drift(slope, drift) for slope in slopes)
        return cls(exact, drift, noise, test, sde.dt, sde.density)

    def largest(self, name: str) -> float:
        """The largest value of `name` over all sampled states."""
        return max(float(getattr(slope, name).max()) for slope in self.slopes)

    def interval(self, name: str, bound: Bound) -> str:
        """The range from the sampled maximum to the bound, in words."""
        low = self.largest(name)
        if bound.value is None:
            return f"at least {low:.3g}, with no known bound"
        if bound.exact:
            return f"exactly {bound.value:.3g}"
        return f"between {low:.3g} and {bound.value:.3g}"

    @property
    def bounded(self) -> bool:
        """Whether both constants have a bound."""
        return self.drift.value is not None and self.noise.value is not None

    def headline(self) -> str:
        """Whether the SDE has a unique strong solution, and the drift's constant."""
        solution = (
            "Read as an SDE, the fit has a unique strong solution"
            if self.bounded
            else "It is not known whether the SDE has a unique strong solution"
        )
        kernel = "; a discrete kernel does not need one" if self.density == "discrete" else ""
        return (
            f"{solution}: the Lipschitz constant of its drift is "
            f"{self.interval('drift', self.drift)} per unit of time{kernel}."
        )

    def guarantee(self) -> str:
        """What the existence theorem gives, in numbers."""
        if self.drift.value is None or self.noise.value is None:
            return (
                "No bound from the weights is known for this law, and the theorem of Picard and "
                "Lindelöf requires one constant for all states, which no sample gives."
            )
        rate = 2 * self.drift.value + self.noise.value**2
        sentence = (
            "Both constants are finite, so the theorem applies: under the same noise, the "
            "expected squared distance of two solutions grows by at most a factor of "
            f"exp({rate:.3g}) per unit of time."
        )
        if self.density == "discrete":
            sentence += (
                " A discrete kernel needs no theorem: it is a law of the next state, dt = "
                f"{self.dt:g} later, and is well defined from every state."
            )
        return sentence

    def estimates(self, members: "list[LipschitzConstants]") -> tuple[Estimate, ...]:
        """Sampled maxima with their deviation over the ensemble, bounds, and document means."""
        null = f"per unit of time (states in random order {1 / self.dt:g}, random walk 0)"
        root = "per root of a unit of time"
        rows = [
            self._largest("drift", "slope of the drift, largest sampled", null, members),
            *_bound("slope of the drift, bound", self.drift, "per unit of time"),
            self._mean("drift", "slope of the drift, mean at held-out states", "per unit of time"),
            self._largest("noise", "slope of sigma, largest sampled", root, members),
            *_bound("slope of sigma, bound", self.noise, root),
            self._mean("noise", "slope of sigma, mean at held-out states", root),
        ]
        growth = [float(slope.growth.max()) for slope in self.slopes]
        rows.append(Estimate("linear growth K, held-out states", growth[0]))
        rows.append(Estimate("linear growth K, out to 3 radii", max(growth)))
        return tuple(rows)

    def _largest(
        self, key: str, name: str, unit: str, members: "list[LipschitzConstants]"
    ) -> Estimate:
        maxima = torch.tensor([member.largest(key) for member in members])
        error = float(maxima.std()) if len(members) > 1 else None
        return Estimate(name, self.largest(key), error, unit)

    def _mean(self, key: str, name: str, unit: str) -> Estimate:
        values = getattr(self.slopes[0], key)
        ratio = Ratio.of(*summed(values, self.test.document, self.test.documents))
        known = ratio.groups > 1 and ratio.stderr > ROUNDING
        return Estimate(name, ratio.value, ratio.stderr if known else None, unit)

    def arrays(self) -> dict[str, Tensor]:
        """Slopes and growth, ``[radius, state]``; radius 1 holds held-out states."""
        rows = {name: self._by_radius(name) for name in ("drift", "noise", "growth")}
        return {"radii": torch.tensor([1.0, *RADII]), **rows}

    def _by_radius(self, name: str) -> Float[Tensor, "radius state"]:
        return torch.stack([getattr(slope, name) for slope in self.slopes])

    def figures(self) -> tuple[Figure, ...]:
        """Slopes and growth by distance from the data."""
        panels = (
            self._panel("drift", self.drift, "slope, per unit of time", "Drift"),
            self._panel("noise", self.noise, "slope, per root of time", "Sigma"),
            self._panel("growth", Bound(None), "K", "Linear growth"),
        )
        return (
            Figure(
                "slopes",
                panels,
                "The norm of the Jacobian of drift and sigma, and the constant of linear growth, "
                "at held-out states (at 1) and on shells around the data; the bound from the "
                "weights if it is within ten times the largest value.",
            ),
        )

    def _panel(self, name: str, bound: Bound, y: str, title: str) -> Panel:
        x = torch.tensor([1.0, *RADII]).double()
        values = self._by_radius(name)
        low, middle = values.quantile(torch.tensor([0.05, 0.5]).to(values), dim=1)
        top = values.amax(1)
        layers = [
            Layer("band", {"x": x, "low": low, "high": top}, "5% to largest", 0),
            Layer("line", {"x": x, "y": middle}, "median", 0),
        ]
        if bound.value is not None and bound.value <= 10 * float(top.max()):
            line = {"x": x[[0, -1]], "y": x.new_full((2,), bound.value)}
            layers.append(Layer("line", line, "bound", 1, dashed=True))
        return Panel("radii of the data", y, tuple(layers), title)


def _with_exact_drift(slope: Regularity, bound: Bound) -> Regularity:
    """Replaces the drift's slope where it is known: power iteration slightly underestimates it."""
    if not bound.exact or bound.value is None:
        return slope
    return replace(slope, drift=torch.full_like(slope.drift, bound.value))


def _bound(name: str, bound: Bound, unit: str) -> list[Estimate]:
    if bound.value is None:
        return []
    return [Estimate(name, bound.value, unit=f"{unit}{' (attained)' if bound.exact else ''}")]
