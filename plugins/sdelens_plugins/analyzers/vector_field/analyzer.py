"""The drift as arrows in planes of principal components (the paper's Figures 4 and 5)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from sdelens.dynamics.fixed_points import FixedPoints, eigenvalues, fixed_points
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.sde import SDE
from sdelens.report import Estimate, Figure, Finding, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.observed_path import ObservedPath, observed_path
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.vector_field.plane import Plane

PANELS = 3
"""Planes in one row of the refined figure."""
WORK = 2**12
"""Starting states times coordinates of the search for fixed points: what bounds its time."""
READING = (
    "An arrow is the expected change in one unit of time, drawn where there are data; its length "
    "is the drift's in the plane only, and what the drift does in all other directions is not "
    "seen. A field of arrows that point to the centre is what any stationary sequence has: "
    "states in random order have the drift (mean - x)/dt, which has divergence -2/dt in every "
    "plane, no curl, and one fixed point, at the mean, with eigenvalue 0; a random walk has no "
    "drift at all, and every state is a fixed point with eigenvalue 1. Only the difference from "
    "these tells something of the process. A slice holds all other components at their mean, "
    "where few states are; the expectation averages over the held-out states that are near in "
    "the plane, so that its arrows need not be those of any state. Divergence and curl are those "
    "of the field shown: the curl's sign depends on the signs of the components, which are a "
    "convention. Fixed points are those that were found from observed states; there may be "
    "others, and with noise no path stays at one. Outside of the region of the data a fit is "
    "extrapolation, so that fixed points there are only counted. Errors are over held-out "
    "documents, of the fit as it is."
)


@dataclass(frozen=True)
class VectorFieldAnalyzer:
    """Drift, divergence, curl and fixed points in planes of principal components.

    `components` is the plane; `field` is ``slice`` (the others at their mean) or ``expectation``
    (over held-out states, given the plane); `time` is when, None for the median; `cells` nodes
    along an axis; the refined figure has all planes of the first `refined` components; fixed
    points are searched from `starts` states; `tokens` states of the prompt or a test document.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"

    components: str = "1,2"
    field: Literal["slice", "expectation"] = "slice"
    time: float | None = None
    cells: int = 18
    refined: int = 3
    starts: int = 32
    tokens: int = 40

    def __post_init__(self) -> None:
        if self.field not in ("slice", "expectation"):
            raise UsageError(f"field must be slice or expectation, got {self.field!r}")

    @property
    def plane(self) -> tuple[int, int]:
        """The two components, counted from 0."""
        try:
            first, second = (int(word) - 1 for word in self.components.split(","))
        except ValueError:
            raise UsageError(
                f"components must be two numbers from 1, as in 1,2, got {self.components!r}"
            ) from None
        return first, second

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        plane = self.plane
        train, held = Sample.of(viewed.train), Sample.of(viewed.test)
        t = held.middle() if self.time is None else self.time
        axes = PrincipalComponents.of(viewed.train, max(self.refined, *(k + 1 for k in plane), 2))
        path = observed_path(study, tokens=self.tokens)
        made = (viewed.fitted, train, held, t, self.field, self.cells)
        shown = Plane.of(axes.select(*plane), *made, seed=seed)
        others = [
            Plane.of(axes.select(*pair), *made, seed=derive(seed, *pair))
            for pair in torch.combinations(torch.tensor(axes.components), 2).tolist()
            if self.refined > 2 and max(pair) < self.refined
        ]
        rest = Resting.of(viewed, train, t, self.starts)
        return Finding(
            view=str(view),
            headline=f"{shown.headline()} {rest.headline()}",
            reading=READING,
            estimates=(*shown.estimates(), *rest.estimates()),
            arrays=shown.arrays(path) | rest.arrays(shown.axes),
            figures=(
                *shown.figures(path, rest.states, rest.found.stable),
                *refined(others, path, self.field),
            ),
            prompt=study.prompt,
        )


def refined(planes: list[Plane], path: ObservedPath, kind: str) -> list[Figure]:
    """All planes, a few in a row."""
    rows = [planes[k : k + PANELS] for k in range(0, len(planes), PANELS)]
    return [
        Figure(
            f"planes{number}" if len(rows) > 1 else "planes",
            tuple(p.plain(path) for p in row),
            f"The drift ({kind}) in further planes of principal components, and {path.name}.",
        )
        for number, row in enumerate(rows, start=1)
    ]


@dataclass(frozen=True, eq=False)
class Resting:
    """Fixed points of the fit at one time."""

    found: FixedPoints
    t: float
    searched: int
    states: Tensor
    """The points in the data's coordinates."""
    errors: tuple[float | None, ...]
    """Of each point's largest modulus, over the ensemble; None without one."""

    @classmethod
    def of(cls, viewed: Viewed, train: Sample, t: float, starts: int) -> "Resting":
        """From training states, evenly chosen."""
        fitted, basis = viewed.fitted, viewed.fitted.basis
        latent = basis.encode(train.t, train.x)
        region = Region.of(latent)
        count = max(4, min(starts, WORK // latent.shape[-1]))
        chosen = torch.linspace(0, len(latent) - 1, min(count, len(latent))).long()
        step = StepMap.of(fitted.sde, t)
        found = fixed_points(step, latent[chosen], region)
        times = torch.full(found.points.shape[:1], t).to(latent)
        states = basis.decode(times, found.points.to(latent))
        return cls(found, t, len(chosen), states, _over_members(fitted, found, t))

    def headline(self) -> str:
        """How many, and whether they attract."""
        k, found = len(self.found.points), self.found
        if k == 0:
            return f"No fixed point was found inside the region of the data at t = {self.t:g}."
        attract = int(found.stable.sum())
        which = (
            f"{_modulus(found.modulus, k)}: {'it attracts' if attract else 'it does not attract'}"
            if k == 1
            else f"{attract} of which attract"
        )
        return (
            f"{counted(k, 'fixed point')} at t = {self.t:g} inside the region that holds 99% of "
            f"training states, {which}."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Counts, and the largest modulus at each point."""
        found, of = self.found, f"of {self.searched} starting states"
        rows = [
            Estimate(
                f"largest |eigenvalue| at fixed point {k + 1}",
                float(found.modulus[k]),
                self.errors[k],
                f"below 1 attracts (reached from {int(found.starts[k])} {of})",
            )
            for k in range(min(len(found.points), 5))
        ]
        return (
            Estimate("fixed points inside the data's region", float(len(found.points))),
            *rows,
            Estimate("starts that ended in a root outside", float(found.outside), unit=of),
            Estimate("starts that ended in none", float(found.lost), unit=of),
        )

    def arrays(self, axes: PrincipalComponents) -> dict[str, Tensor]:
        """Points and eigenvalues."""
        return {
            "fixed.states": self.states,
            "fixed.plane": axes.project(self.states),
            "fixed.eigenvalues": torch.view_as_real(self.found.eigenvalues),
            "fixed.starts": self.found.starts,
        }


def _modulus(modulus: Tensor, k: int) -> str:
    return f"with largest |eigenvalue| {float(modulus[:k].max()):.2f}"


def _over_members(fitted: Fitted, found: FixedPoints, t: float) -> tuple[float | None, ...]:
    """The deviation, between the ensemble's members, of the largest modulus at the same states.

    A member's own fixed points may be others, and fewer or more.
    """
    laws = [law for law in fitted.members if isinstance(law, SDE)]
    if len(laws) < 2 or len(found.points) == 0:
        return (None,) * len(found.points)
    sizes = [eigenvalues(StepMap.of(law, t), found.points).abs().amax(-1) for law in laws]
    errors: list[float] = torch.stack(sizes).std(0).tolist()
    return tuple(errors)
