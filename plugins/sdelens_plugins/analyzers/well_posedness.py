"""Whether the coefficients define a process: Lipschitz and growth constants (the paper's 3.1)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
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

ROUNDING = 1e-6
"""Errors that are smaller than this are of float32."""
RADII = (1.5, 2.0, 3.0)
READING = (
    "A Lipschitz constant lies between the largest slope that was seen at a state and the bound "
    "from the weights, which holds everywhere and is often far too large; both are in the "
    "coordinates of the fit, in which they depend on how these are scaled. For a perceptron with "
    "a smooth activation both constants are finite whatever was learned: that they are is a "
    "property of the architecture and says nothing of the data. If drift and sigma are Lipschitz "
    "and grow at most linearly, the SDE has one strong solution from every start (Picard and "
    "Lindelöf; Itô), which does not make it stable, nor true. States in random order have a "
    "drift with constant 1/dt, a random walk one of 0. Slopes on shells beyond the data are "
    "extrapolation."
)


@dataclass(frozen=True)
class WellPosednessAnalyzer:
    """Lipschitz constants of drift and sigma, and linear growth, out to 3 radii of the data.

    Slopes are taken at `states` held-out states, and as many on each shell.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    states: int = 1024

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        del seed  # nothing is drawn
        view, viewed = study.single
        fitted = viewed.fitted
        train, held = Sample.of(viewed.train), Sample.of(viewed.test, self.states)
        region = Region.of(fitted.basis.encode(train.t, train.x))
        found = Constants.of(fitted, fitted.sde, held, region)
        members = [law for law in fitted.members if isinstance(law, SDE)]
        again = [Constants.of(fitted, law, held, region) for law in members]
        return Finding(
            view=str(view),
            headline=found.headline(),
            reading=f"{found.guarantee()} {READING}",
            estimates=found.estimates(again),
            arrays=found.arrays(),
            figures=found.figures(),
        )


def attained(seen: Regularity, bound: Bound) -> Regularity:
    """With the drift's slope where it is known: power iteration falls a little short of it."""
    if not bound.exact or bound.value is None:
        return seen
    return replace(seen, drift=torch.full_like(seen.drift, bound.value))


@dataclass(frozen=True, eq=False)
class Constants:
    """Sampled slopes by distance from the data, and bounds."""

    at: tuple[Regularity, ...]
    """At held-out states, and on the shells."""
    drift: Bound
    noise: Bound
    held: Sample
    dt: float
    density: str

    @classmethod
    def of(cls, fitted: Fitted, sde: SDE, held: Sample, region: Region) -> "Constants":
        """Of one law at held-out states and on shells in their directions."""
        x = fitted.basis.encode(held.t, held.x)
        places = [x, *(region.shell(x, times) for times in RADII)]
        drift, noise = drift_bound(sde), noise_bound(sde)
        at = tuple(
            attained(Regularity.of(sde, held.t.to(x), y, region.centre), drift) for y in places
        )
        return cls(at, drift, noise, held, sde.dt, sde.density)

    def largest(self, name: str) -> float:
        """The largest value of that name at all states that were tried."""
        return max(float(getattr(each, name).max()) for each in self.at)

    def interval(self, name: str, bound: Bound) -> str:
        """From the sampled maximum to the bound, in words."""
        low = self.largest(name)
        if bound.value is None:
            return f"at least {low:.3g} (no bound is known for this law)"
        if bound.exact:
            return f"exactly {bound.value:.3g}"
        return f"between {low:.3g} and {bound.value:.3g}"

    def headline(self) -> str:
        kernel = self.density == "discrete"
        bounded = self.drift.value is not None and self.noise.value is not None
        holds = (
            "read as an SDE these coefficients have one strong solution"
            if bounded
            else "whether the SDE has one strong solution is not known: slopes are only sampled"
        )
        needs = "; the kernel that was fitted needs no such theorem" if kernel else ""
        return (
            f"The drift's Lipschitz constant is {self.interval('drift', self.drift)} per unit of "
            f"time, that of sigma {self.interval('noise', self.noise)}: {holds}{needs}."
        )

    def guarantee(self) -> str:
        """What the theorem gives, in numbers."""
        if self.drift.value is None or self.noise.value is None:
            return (
                "No bound from the weights is known for this law: Picard and Lindelöf's theorem "
                "asks for one constant for all states, which no sample gives."
            )
        rate = 2 * self.drift.value + self.noise.value**2
        said = (
            "Both constants are finite, so that the theorem applies: under the same noise, the "
            f"expected squared distance of two solutions grows by no more than exp({rate:.3g}) "
            "in a unit of time."
        )
        if self.density == "discrete":
            said += (
                f" A discrete kernel needs no theorem: it is a law of the next state, dt = "
                f"{self.dt:g} apart, from every state, and is well defined by being written down."
            )
        return said

    def estimates(self, members: "list[Constants]") -> tuple[Estimate, ...]:
        """Sampled maxima with their deviation over the ensemble, bounds, means over documents."""
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
        growth = [float(each.growth.max()) for each in self.at]
        rows.append(Estimate("linear growth K, held-out states", growth[0]))
        rows.append(Estimate("linear growth K, out to 3 radii", max(growth)))
        return tuple(rows)

    def _largest(self, key: str, name: str, unit: str, members: "list[Constants]") -> Estimate:
        again = torch.tensor([each.largest(key) for each in members])
        error = float(again.std()) if len(members) > 1 else None
        return Estimate(name, self.largest(key), error, unit)

    def _mean(self, key: str, name: str, unit: str) -> Estimate:
        values = getattr(self.at[0], key)
        ratio = Ratio.of(*summed(values, self.held.document, self.held.documents))
        known = ratio.groups > 1 and ratio.stderr > ROUNDING
        return Estimate(name, ratio.value, ratio.stderr if known else None, unit)

    def arrays(self) -> dict[str, Tensor]:
        """At held-out states and on the shells, row by row."""
        names = ("drift", "noise", "growth")
        rows = {name: torch.stack([getattr(each, name) for each in self.at]) for name in names}
        return {"radii": torch.tensor([1.0, *RADII]), **rows}

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
                "The norm of the Jacobian of drift and sigma, and the constant that linear growth "
                "needs, at held-out states (at 1) and on shells around the data; the bound of the "
                "weights where it is within ten times of what was seen.",
            ),
        )

    def _panel(self, name: str, bound: Bound, y: str, title: str) -> Panel:
        x = torch.tensor([1.0, *RADII]).double()
        values = torch.stack([getattr(each, name) for each in self.at])
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


def _bound(name: str, bound: Bound, unit: str) -> list[Estimate]:
    if bound.value is None:
        return []
    return [Estimate(name, bound.value, unit=f"{unit}{' (attained)' if bound.exact else ''}")]
