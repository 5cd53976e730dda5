"""Mean, variance and higher moments over time: data, fit, recursion (the paper's 3.3 and A.3)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.affine import Affine
from sdelens.dynamics.moments import (
    Projection,
    central,
    closure_moments,
    linear_moments,
    simulated,
)
from sdelens.errors import BadNumbers, UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.report import Finding
from sdelens_plugins.analyzers.common.observed_path import ObservedPath, first_paths
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.moments.comparison import BATCHES, MomentComparison

READING = (
    "A replicate starts from the same states as the test documents and is as long: were the fit "
    "true, the documents would be one replicate more, and their moments would lie inside the "
    "bands nine times in ten. The mean square of their distance from the replicates' mean, in "
    "deviations of the replicates, is 1 on average then, and its spread among replicates stands "
    "beside it; few documents leave wide bands, most of all for the third and fourth moment, so "
    "that moments which do not differ need not be the same. All documents start at the same "
    "time, from where nine of ten have begun. Moments to order four of a few components do not "
    "determine a law, and tell nothing of how one time depends on another. Closed recursions are "
    "exact for a linear law; the Gaussian closure is an approximation, and its distance from "
    "Monte Carlo says how good."
)


@dataclass(frozen=True)
class MomentsAnalyzer:
    """Moments to order 4 of the first `components` over `steps` steps of the test documents.

    At most `documents` of them, and `replicates` simulated ones of each.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    scope: ClassVar[str] = "view"

    components: int = 3
    steps: int = 40
    documents: int = 256
    replicates: int = 200

    def __post_init__(self) -> None:
        if self.replicates < 2 * BATCHES or self.steps < 1 or self.components < 1:
            raise UsageError(
                f"moments need {2 * BATCHES} replicates or more, and one step and component, got "
                f"replicates={self.replicates}, steps={self.steps}, components={self.components}"
            )

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted, axes = viewed.fitted, PrincipalComponents.of(viewed.train, self.components)
        every = first_paths(
            viewed.test,
            documents=self.documents,
            states=sys.maxsize,
            group=study.documents.group,
        )
        paths = together(every, self.steps)
        times, states = paths[0].times, torch.stack([path.states for path in paths])
        starts = fitted.basis.encode(times[:1].expand(len(paths)), states[:, 0])
        seen = projection(fitted, axes, times)
        drawn = simulated(fitted.sde, starts, times, seen, draws=self.replicates, seed=seed)
        require_finite(drawn)
        affine = Affine.of(fitted.sde)
        name = "Gaussian closure" if affine is None else "closed recursion"
        closed = (
            closure_moments(fitted.sde, starts, times, seen)
            if affine is None
            else linear_moments(affine, starts, times, seen)
        )
        data = central(axes.project(states).double().transpose(0, 1))
        found = MomentComparison(axes, times.double(), data, drawn, closed, name, len(paths))
        return Finding(
            analyzer="moments",
            view=str(view),
            headline=found.headline(),
            reading=READING,
            estimates=found.estimates(),
            arrays=found.arrays(),
            figures=found.figures(),
        )


def require_finite(drawn: Float[Tensor, "time replicate document component"]) -> None:
    """An error where the law cannot be simulated from some state."""
    lost = (~drawn.isfinite()).flatten(2).any(-1).any(0)
    if lost.any():
        raise BadNumbers(
            f"{int(lost.sum())} of {len(lost)} simulated replicates are not finite: the fit "
            "diverges, or its density has no covariance at some state; fit with --density "
            "discrete (or euler), or ask for fewer steps (--set moments.steps=5)"
        )


def together(paths: Sequence[ObservedPath], steps: int) -> list[ObservedPath]:
    """The paths from a time at which nine of ten have begun, cut to a length that half have."""
    if not paths:
        raise UsageError(
            "moments need a held-out document with a transition, but there is none: fit to more "
            "or longer texts"
        )
    begun = sorted(float(path.times[0]) for path in paths)
    start = begun[int(0.9 * (len(begun) - 1))]
    group = [since(path, start) for path in paths if float(path.times[0]) <= start]
    group = [path for path in group if path.steps > 0]
    length = min(steps + 1, sorted(len(path.times) for path in group)[len(group) // 2])
    return [path.first(length) for path in group if len(path.times) >= length]


def since(path: ObservedPath, start: float) -> ObservedPath:
    """Its states from a time on."""
    keep = path.times >= start
    return ObservedPath(path.name, path.states[keep], path.times[keep], path.tokens[keep])


def projection(
    fitted: Fitted, axes: PrincipalComponents, times: Float[Tensor, " time"]
) -> Projection:
    """The components as functions of the law's coordinates."""
    direction = axes.direction(fitted.basis.decoder)
    offset = axes.project(fitted.basis.mean_at(times))
    return Projection(direction.double(), offset.double())
