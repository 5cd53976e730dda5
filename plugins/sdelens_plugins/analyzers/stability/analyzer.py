"""Whether the fitted kernel is stable, by a kernel's criteria (the paper's 3.2 and A.2)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from sdelens.dynamics.exponents import exponents
from sdelens.dynamics.long_run import LongRun
from sdelens.dynamics.lyapunov import Quadratic, lyapunov_matrix
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.estimation.ratio import summed
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.laws.sde import SDE
from sdelens.report import Estimate, Finding
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.stability.drift_condition import Condition
from sdelens_plugins.analyzers.stability.summary import (
    exponent_figure,
    of_exponents,
    of_run,
    run_figure,
    said,
)

WORK = 2**13
"""States times coordinates of the mean Jacobian: what bounds its time and memory."""
READING = (
    "Everything here is sampled evidence about the fit, not a certificate, and says nothing of "
    "the model but through the fit: a condition that holds at all states that were tried may "
    "fail between them, and far from the data a fit is extrapolation. V is a quadratic form that "
    "falls in the mean under the averaged linear part of a step; the drift condition is fitted "
    "on validation states and counted on held-out ones where V is above its level, and on shells "
    "around the data, where no state was ever observed. In continuous time LV <= 0 would be "
    "asked; for a kernel it is the wrong question (x' = -1.1 x + noise passes and diverges), and "
    "it fails near the mean of every process with additive noise, however stable. Exponents "
    "below zero mean that two paths under the same noise meet, not that a path comes to rest; "
    "they are of the noise's root named above. States in random order would have a contraction "
    "factor of 0 and exponents of minus infinity, a random walk a factor of 1 and exponents of "
    "0. In the long run time stands still at the last fitted value, which no text does."
)


@dataclass(frozen=True)
class StabilityAnalyzer:
    """Drift condition, contraction, Lyapunov exponents and a long run of the fit.

    Exponents are the `exponents` leading ones over `paths` paths of `steps` steps; the long run
    has as many paths and `long_run` steps; the criteria are asked of `states` held-out states.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    scope: ClassVar[str] = "view"

    states: int = 2048
    exponents: int = 4
    paths: int = 16
    steps: int = 300
    long_run: int = 10_000

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        fitted = viewed.fitted
        train, validation, held = (
            latent(fitted, Sample.of(paths, self.states))
            for paths in (viewed.train, viewed.validation, viewed.test)
        )
        region, sde = Region.of(train.x), fitted.sde
        linear = mean_jacobian(sde, validation)
        cost = (1 / region.std.square()).diag()
        solved = lyapunov_matrix(linear, cost)
        form = Quadratic(region.centre, cost if solved is None else solved)
        condition = Condition.of(sde, form, validation, held, region, seed=derive(seed, "drift"))
        last = StepMap.of(sde, train.last())
        chosen = torch.linspace(0, len(held.x) - 1, min(self.paths, len(held.x))).long()
        starts, count = held.x[chosen], min(self.exponents, held.x.shape[-1])
        lengths = exponents(
            last, starts, region, count=count, steps=self.steps, seed=derive(seed, "exponents")
        )
        run = LongRun.of(last, starts, region, steps=self.long_run, seed=derive(seed, "long"))
        found = (
            *linear_part(fitted, linear, validation, exists=solved is not None),
            *condition.estimates(),
            *contraction(form, last, held),
            *of_exponents(lengths, region),
            *of_run(run, region, held),
        )
        return Finding(
            analyzer="stability",
            view=str(view),
            headline=f"{said(run, lengths)} {condition.headline()}",
            reading=f"{condition.theorems(form, last, region, fitted)} {noise_root(sde, held)} "
            f"{READING}",
            estimates=found,
            arrays=condition.arrays()
            | {"exponents": lengths.value, "exponents.stderr": lengths.stderr}
            | {"long_run.size": run.size, "long_run.escape": run.escape, "lyapunov": form.matrix},
            figures=(*condition.figures(), exponent_figure(lengths), run_figure(run)),
        )


def latent(fitted: Fitted, sample: Sample) -> Sample:
    """The same transitions in the coordinates of the law."""
    basis = fitted.basis
    x, following = (
        basis.encode(t, each)
        for t, each in ((sample.t, sample.x), (sample.t + fitted.dt, sample.following))
    )
    return Sample(sample.t.to(x), x, following, sample.document)


def mean_jacobian(sde: SDE, sample: Sample) -> Tensor:
    """The derivative of a step, averaged over states, at their own times."""
    count = max(8, WORK // sample.x.shape[-1])
    chosen = torch.linspace(0, len(sample.x) - 1, min(count, len(sample.x))).long()
    return StepMap.of(sde, sample.t[chosen]).jacobian(sample.x[chosen]).double().mean(0)


def linear_part(
    fitted: Fitted, linear: Tensor, validation: Sample, *, exists: bool
) -> list[Estimate]:
    """The spectral radius, with its deviation over the ensemble."""
    laws = [law for law in fitted.members if isinstance(law, SDE)]
    radii = [_radius(mean_jacobian(law, validation)) for law in laws]
    error = float(torch.tensor(radii).std()) if len(radii) > 1 else None
    unit = "(below 1: a Lyapunov function exists)" if exists else "(1 or more: V is |x|² instead)"
    return [Estimate("spectral radius of the mean Jacobian", _radius(linear), error, unit)]


def _radius(matrix: Tensor) -> float:
    return float(torch.linalg.eigvals(matrix).abs().max())


def contraction(form: Quadratic, step: StepMap, held: Sample) -> list[Estimate]:
    """What a step under shared noise leaves of the squared distance of two held-out states."""
    half = (len(held.x) + 1) // 2
    x, y = held.x[:half], held.x[-half:]
    after, before = form.contraction(step, x, y)
    keep = before > 0
    if not keep.any():
        return []
    document = held.document[:half][keep]
    sums = [summed(each[keep], document, held.documents)[0] for each in (after, before)]
    grown = summed((after > before)[keep].double(), document, held.documents)
    mean, share = DocumentMean.ratio(*sums), DocumentMean.ratio(*grown)
    return [
        Estimate("mean-square contraction of a step", mean.value, mean.stderr, "(random walk 1)"),
        Estimate("pairs that move apart in mean square", share.value, share.stderr, "of pairs"),
    ]


def noise_root(sde: SDE, held: Sample) -> str:
    """Which root of the covariance the exponents are of."""
    kind = type(StepMap.of(sde, held.t[:1]).scale(held.x[:1])).__name__
    words = {
        "DiagonalScale": "the diagonal of standard deviations",
        "ScaledCorrelation": "standard deviations times the root of a constant correlation",
        "LowRankScale": "a constant diagonal beside constant columns",
        "FullScale": "the lower Cholesky factor",
    }
    return f"The root of the noise's covariance is {words.get(kind, kind)}."
