"""Sentences, estimates and arrays of a stability analysis."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.exponents import FAR, Exponents
from sdelens.dynamics.long_run import LongRun
from sdelens.dynamics.lyapunov import Quadratic
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.estimation.ratio import FEWEST, summed
from sdelens.evidence.interval import Interval
from sdelens.fitting.fitted import Fitted
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.intervals import estimate
from sdelens_plugins.analyzers.stability.drift_condition import SHELLS, DriftConditionCheck
from sdelens_plugins.analyzers.stability.linear_part import contraction, spectral_radius

ROUNDING = 1e-6
"""A smaller error of an exponent is the rounding of float32."""
READING = (
    "All of this is sampled evidence about the fit, not a certificate, and describes the model "
    "only as far as the fit does: a condition that holds at all sampled states may fail between "
    "them, and far from the data the fit is extrapolation. V is a quadratic form whose mean falls "
    "under the averaged linear part of a step. The drift condition is fitted on validation states "
    "and checked at held-out states where V is above its level, and on shells around the data, "
    "where no state was observed. The continuous-time criterion LV <= 0 is wrong for a "
    "kernel: x' = -1.1 x + noise satisfies it and diverges, and every process with additive noise "
    "violates it near its mean, however stable. Negative exponents mean that two paths under the "
    "same noise converge, not that a path comes to rest; they depend on the root of the noise "
    "named above. States in random order would have a contraction factor of 0 and exponents of "
    "minus infinity, a random walk a factor of 1 and exponents of 0. The long run keeps time at "
    "the last fitted value, which never happens in a text."
)


@dataclass(frozen=True, eq=False)
class StabilityResults:
    """The stability of one fit; samples are in the law's coordinates."""

    fitted: Fitted
    test: Sample
    region: Region
    form: Quadratic
    """The Lyapunov function V."""
    step: StepMap
    """The step at the last fitted time."""
    jacobian: Float[Tensor, "dim dim"]
    """The mean Jacobian of a step."""
    member_radii: tuple[float, ...]
    """Its spectral radius for each ensemble member."""
    solvable: bool
    """Whether the Lyapunov equation of the mean Jacobian has a positive solution."""
    condition: DriftConditionCheck
    exponents: Exponents
    run: LongRun

    def headline(self) -> str:
        """The leading exponent, whether paths stay, and the drift condition."""
        leading = Estimate(
            "", float(self.exponents.value[0]), _error(self.exponents.stderr[0])
        ).number
        escaped = self.run.escaped
        left = "all" if escaped == len(self.run.escape) else "some"
        stays = f"{left} paths escaped" if escaped else "no path escaped"
        return (
            f"The leading Lyapunov exponent is {leading} per unit of time; in the long run "
            f"{stays}; {self._condition()}."
        )

    def _condition(self) -> str:
        if self.condition.rule.rate == 0:
            return "there is no drift condition"
        if self.condition.above_level == 0:
            return "no held-out state tests the drift condition"
        if float(self.condition.broken.value) == 0:
            return "the drift condition holds at all held-out states"
        return "the drift condition fails at some held-out states"

    def reading(self) -> str:
        """Which theorems do not apply, the root of the noise, and how to read the rest."""
        scale = StepMap.of(self.fitted.sde, self.test.t[:1]).scale(self.test.x[:1])
        root = f"The root of the noise covariance is {scale.factor_name}."
        return f"{self._theorems()} {root} {READING}"

    def _theorems(self) -> str:
        """Which of the paper's theorems do not apply, and why."""
        centre = self.region.centre.to(self.fitted.basis.encoder)[None]
        size = float(self.step.scale(centre).trace(self.form.matrix).max())
        share = size / float(self.condition.v.mean())
        sentences = []
        if self.fitted.sde.density == "discrete":
            sentences.append(
                "The paper's theorems on stability (section 3.2, A.2: LV <= 0, and exponential "
                "stability by LV <= -cV) hold in continuous time and do not apply to this kernel, "
                f"whose step of dt = {self.fitted.dt:g} has no limit."
            )
        if share > 1e-6:
            sentences.append(
                "They assume an equilibrium at which the noise vanishes. Here the noise of one "
                f"step adds {share:.0%} of the mean of V at the centre of the data, so there is "
                "no equilibrium, and at most a stationary distribution can be stable."
            )
        return " ".join(sentences) or (
            "The noise vanishes at the centre of the data, so the paper's theorems on an "
            "equilibrium may apply there; they require LV <= 0 everywhere, which sampled states "
            "cannot establish."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Linear part, drift condition, contraction, exponents, long run."""
        return (
            self._spectral_radius(),
            *_condition_estimates(self.condition),
            *self._contraction(),
            *_exponent_estimates(self.exponents, self.region),
            *_run_estimates(self.run, self.region, self.test),
        )

    def _spectral_radius(self) -> Estimate:
        """With its standard deviation over the ensemble."""
        radii = torch.tensor(self.member_radii)
        return Estimate(
            "spectral radius of the mean Jacobian",
            spectral_radius(self.jacobian),
            float(radii.std()) if len(radii) > 1 else None,
            "(below 1: a Lyapunov function exists)"
            if self.solvable
            else "(1 or more: V is |x|² instead)",
        )

    def _contraction(self) -> list[Estimate]:
        means = contraction(self.form, self.step, self.test)
        names = (
            ("mean-square contraction of a step", "(random walk 1)"),
            ("pairs that move apart in mean square", "of pairs"),
        )
        return [
            Estimate(name, mean.value, mean.stderr, unit)
            for (name, unit), mean in zip(names, means or (), strict=False)
        ]

    def arrays(self) -> dict[str, Tensor]:
        """V and KV of every state, exponents, and the long run."""
        condition = self.condition
        shares = {
            "shell.broken": condition.shell_broken.tensors(),
            "rising": condition.rising.tensors(),
        }
        return {
            "v": condition.v,
            "kv": condition.kv,
            "shell.v": condition.shell_v,
            "shell.kv": condition.shell_kv,
            **prefixed(**shares),
            "exponents": self.exponents.value,
            "exponents.stderr": self.exponents.stderr,
            "long_run.size": self.run.size,
            "long_run.escape": self.run.escape,
            "lyapunov": self.form.matrix,
        }


def _condition_estimates(condition: DriftConditionCheck) -> list[Estimate]:
    """The drift condition, and the shares of states at which it fails."""
    rule, share = condition.rule, condition.above_level / len(condition.v)
    shares = [("broken above the level, held-out", condition.broken)]
    shares = shares if condition.above_level else []
    shares += [
        (f"broken at {radius:g} radii", condition.shell_broken[k])
        for k, radius in enumerate(SHELLS)
    ]
    shares += [
        (f"V rises at {radius:g} radii", condition.rising[k + 1])
        for k, radius in enumerate(SHELLS)
    ]
    shares.append(("V rises at held-out states", condition.rising[0]))
    shares.append(("LV > 0, continuous time's criterion", condition.generator))
    return [
        Estimate("rate a of the drift condition", rule.rate, unit="of V in a step"),
        Estimate("its level b/a", rule.level, unit=f"({share:.1%} of held-out states above)"),
        *(_share(condition, name, interval) for name, interval in shares),
    ]


def _share(condition: DriftConditionCheck, name: str, share: Interval) -> Estimate:
    """A share with its interval, or the upper bound that zero occurrences leave."""
    if float(share.value) > 0:
        return estimate(name, share, "of states")
    if condition.documents < FEWEST:
        return Estimate(name, 0.0, unit=f"of states (none in {condition.documents} documents)")
    bound = f"none in {condition.documents}, so at most {condition.upper_bound:.0%} of documents"
    return Estimate(name, 0.0, unit=f"of states ({bound}, 95%)")


def _exponent_estimates(exponents: Exponents, region: Region) -> list[Estimate]:
    """Each exponent with its Monte Carlo error."""
    unit = "per unit of time"
    rows = [
        Estimate(f"Lyapunov exponent {k}", float(value), _error(error), f"{unit} (simulation)")
        for k, (value, error) in enumerate(
            zip(exponents.value, exponents.stderr, strict=True), start=1
        )
    ]
    if len(exponents.value) == len(region.std):
        rows.append(Estimate("sum of all exponents", exponents.total, unit=unit))
    return rows


def _error(error: Tensor) -> float | None:
    """An error, or None if it is rounding: the frame of a linear law is not random."""
    return float(error) if float(error) > ROUNDING else None


def _run_estimates(run: LongRun, region: Region, test: Sample) -> list[Estimate]:
    """Distances in the long run, beside those of the data."""
    data = DocumentMean.ratio(*summed(region.size(test.x), test.document, test.documents))
    later, unit = run.later(), "of the data's radius"
    rows = [
        Estimate(
            "escaped in the long run",
            float(run.escaped),
            unit=f"of {len(run.escape)} paths (beyond {FAR:g} radii of the data)",
        ),
        Estimate("mean distance of held-out states", data.value, data.stderr, unit),
    ]
    if len(later):
        error = float(later.std()) / len(later) ** 0.5 if len(later) > 1 else None
        rows.append(Estimate("mean distance in the long run", float(later.mean()), error, unit))
        rows.append(Estimate("largest distance in the long run", run.furthest, unit=unit))
    return rows
