"""Stability of the fitted kernel, by criteria for kernels (the paper's 3.2 and A.2)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sdelens.dynamics.exponents import exponents
from sdelens.dynamics.long_run import LongRun
from sdelens.dynamics.lyapunov import Quadratic, lyapunov_matrix
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.laws.sde import SDE
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.summary import STABLE
from sdelens_plugins.analyzers.stability.drift_condition import DriftConditionCheck
from sdelens_plugins.analyzers.stability.figures import figures
from sdelens_plugins.analyzers.stability.linear_part import mean_jacobian, spectral_radius
from sdelens_plugins.analyzers.stability.results import StabilityResults


@dataclass(frozen=True)
class StabilityAnalyzer:
    """Drift condition, contraction, Lyapunov exponents and a long run of the fit.

    Computes the `exponents` leading Lyapunov exponents over `paths` paths of `steps` steps, a long
    run of as many paths and `long_run` steps, and the criteria at `states` held-out states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = STABLE
    cost: ClassVar[str] = "seconds"

    states: int = 2048
    exponents: int = 4
    paths: int = 16
    steps: int = 300
    long_run: int = 10_000

    def __post_init__(self) -> None:
        require_at_least(self, states=1, exponents=1, paths=2, steps=2, long_run=2)

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted = viewed.fitted
        train, validation, test = (
            _encoded(fitted, Sample.of(paths, self.states))
            for paths in (viewed.train, viewed.validation, viewed.test)
        )
        region, sde = Region.of(train.x), fitted.sde
        jacobian = mean_jacobian(sde, validation)
        cost = (1 / region.std.square()).diag()
        solution = lyapunov_matrix(jacobian, cost)
        form = Quadratic(region.centre, cost if solution is None else solution)
        step = StepMap.of(sde, train.last())
        starts = test.x[torch.linspace(0, len(test.x) - 1, min(self.paths, len(test.x))).long()]
        result = StabilityResults(
            fitted=fitted,
            test=test,
            region=region,
            form=form,
            step=step,
            jacobian=jacobian,
            member_radii=tuple(
                spectral_radius(mean_jacobian(law, validation))
                for law in fitted.members
                if isinstance(law, SDE)
            ),
            solvable=solution is not None,
            condition=DriftConditionCheck.of(sde, form, validation, test, region),
            exponents=exponents(
                step,
                starts,
                region,
                count=min(self.exponents, test.x.shape[-1]),
                steps=self.steps,
                seed=derive(seed, "exponents"),
            ),
            run=LongRun.of(step, starts, region, steps=self.long_run, seed=derive(seed, "long")),
        )
        return Finding(
            view=str(view),
            headline=result.headline(),
            reading=result.reading(),
            estimates=result.estimates(),
            arrays=result.arrays(),
            figures=figures(result),
        )


def _encoded(fitted: Fitted, sample: Sample) -> Sample:
    """The same transitions in the coordinates of the law."""
    basis = fitted.basis
    x = basis.encode(sample.t, sample.x)
    following = basis.encode(sample.t + fitted.dt, sample.following)
    return Sample(sample.t.to(x), x, following, sample.document)
