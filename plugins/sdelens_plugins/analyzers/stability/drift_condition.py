"""A drift condition of the fitted kernel: fitted, counted on held-out states and on shells."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.lyapunov import DriftCondition, Quadratic, weighted_trace
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.estimation.ratio import summed
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.fitting.fitted import Fitted
from sdelens.laws.law import prefixed
from sdelens.laws.sde import SDE
from sdelens.report import Estimate, Figure, Layer, Panel
from sdelens_plugins.analyzers.common.intervals import estimate, line_with_band, percent

SHELLS = (1.5, 2.0, 3.0)
"""Radii of the data at which the condition is asked for beyond them."""
SHARE = "of states"


@dataclass(frozen=True, eq=False)
class Condition:
    """Where it holds."""

    rule: DriftCondition
    now: Float[Tensor, " state"]
    after: Float[Tensor, " state"]
    broken: Interval
    """Of held-out states above the level; NaN if there are none."""
    beyond: int
    documents: int
    """With a held-out state."""
    shells: Interval
    outer: Float[Tensor, "shell state"]
    """V on the shells."""
    outer_after: Float[Tensor, "shell state"]
    rising: Interval
    """KV > V, at held-out states and on the shells."""
    generator: Interval
    """Held-out states with LV > 0, continuous time's criterion."""

    @classmethod
    def of(
        cls,
        sde: SDE,
        form: Quadratic,
        validation: Sample,
        held: Sample,
        region: Region,
        *,
        seed: int,
    ) -> "Condition":
        """Fit on validation states, count elsewhere; each state at its own time."""
        own, step = StepMap.of(sde, validation.t), StepMap.of(sde, held.t)
        rule = DriftCondition.of(form(validation.x), form.after(own, validation.x))
        now, after = form(held.x), form.after(step, held.x)
        outer = [region.shell(held.x, times) for times in SHELLS]
        far, far_after = (
            torch.stack([each(x) for x in outer]) for each in (form, lambda x: form.after(step, x))
        )

        def by_document(values: Tensor) -> Tensor:
            return summed(values, held.document, held.documents)[0]

        above, count = rule.beyond(now), by_document(torch.ones_like(now))
        below = by_document(above)
        pairs = list(zip(far, far_after, strict=True))
        wrong = torch.stack([by_document(rule.broken(*pair)) for pair in pairs])
        up = torch.stack([by_document((k > v).double()) for v, k in [(now, after), *pairs]])
        continuous = by_document((form.generator(step, held.x) > 0).double())
        boot = Bootstrap.of(count, seed=seed)
        return cls(
            rule=rule,
            now=now,
            after=after,
            broken=_among(by_document(rule.broken(now, after) * above), below, seed),
            beyond=int(above.sum()),
            documents=int((count > 0).sum()),
            shells=boot.ratio(wrong, count),
            outer=far,
            outer_after=far_after,
            rising=boot.ratio(up, count),
            generator=boot.ratio(continuous, count),
        )

    @property
    def most(self) -> float:
        """The largest share of documents with a violation that seeing none leaves possible."""
        share: float = 1 - 0.05 ** (1 / max(self.documents, 1))
        return share

    def headline(self) -> str:
        """Violations on held-out states and far out."""
        out = f"{float(self.rising.value[-1]):.0%} of states moved out to {SHELLS[-1]:g} radii"
        if self.rule.rate == 0:
            return f"There is no drift condition: V does not fall as it grows, and rises at {out}."
        if self.beyond == 0:
            held = "no held-out state above its level to be asked at"
        elif float(self.broken.value) == 0:
            held = (
                f"no violation at {self.beyond:,} held-out states above its level (in at most "
                f"{self.most:.0%} of documents, 95%)"
            )
        else:
            held = f"{float(self.broken.value):.1%} violations at {self.beyond:,} held-out states"
        return f"The drift condition of validation states has {held}; V rises at {out}."

    def theorems(self, form: Quadratic, last: StepMap, region: Region, fitted: Fitted) -> str:
        """Which of the paper's theorems do not apply, and why."""
        centre = region.centre.to(fitted.basis.encoder)[None]
        size = float(weighted_trace(form.matrix, last.scale(centre)).max())
        share = size / float(self.now.mean())
        said = []
        if fitted.sde.density == "discrete":
            said.append(
                "The paper's theorems on stability (section 3.2, A.2: LV <= 0, and exponential "
                "stability by LV <= -cV) are of continuous time and do not apply to this kernel, "
                f"whose step of dt = {fitted.dt:g} has no limit."
            )
        if share > 1e-6:
            said.append(
                "They suppose an equilibrium at which the noise vanishes: here one step's noise "
                f"adds {share:.0%} of the mean of V at the centre of the data, so that there is "
                "none, and at most a stationary law can be stable."
            )
        return " ".join(said) or (
            "The noise vanishes at the centre of the data, so that the paper's theorems on an "
            "equilibrium can be asked there; they hold where LV <= 0 everywhere, which sampled "
            "states cannot show."
        )

    def estimates(self) -> list[Estimate]:
        """The condition, and where it fails."""
        rule = self.rule
        share = self.beyond / len(self.now)
        found = [
            Estimate("rate a of the drift condition", rule.rate, unit="of V in a step"),
            Estimate("its level b/a", rule.level, unit=f"({share:.1%} of held-out states above)"),
        ]
        if self.beyond:
            found.append(self._share("broken above the level, held-out", self.broken))
        for k, times in enumerate(SHELLS):
            found.append(self._share(f"broken at {times:g} radii", self.shells[k]))
        for k, times in enumerate(SHELLS):
            found.append(self._share(f"V rises at {times:g} radii", self.rising[k + 1]))
        found.append(self._share("V rises at held-out states", self.rising[0]))
        found.append(self._share("LV > 0, continuous time's criterion", self.generator))
        return found

    def _share(self, name: str, share: Interval) -> Estimate:
        """With its interval; where nothing was seen, with what that leaves possible."""
        if float(share.value) > 0:
            return estimate(name, share, SHARE)
        most = f"none in {self.documents}, hence in at most {self.most:.0%} of documents, 95%"
        unit = f"{SHARE} ({most})"
        return Estimate(name, 0.0, unit=unit)

    def arrays(self) -> dict[str, Tensor]:
        """V and KV of every state."""
        return {
            "v": self.now,
            "kv": self.after,
            "shell.v": self.outer,
            "shell.kv": self.outer_after,
            **prefixed(**{"shell.broken": self.shells.tensors(), "rising": self.rising.tensors()}),
        }

    def figures(self) -> tuple[Figure, ...]:
        """KV against V, and the shares that fail."""
        ends = torch.stack([self.now.min(), self.outer.max()]).clamp(min=1e-12)
        low, high = ends.log10().tolist()
        x = torch.logspace(low, high, 100, dtype=torch.float64)
        bound = (1 - self.rule.rate) * x + self.rule.offset
        far = {"x": self.outer.ravel()[::3].log10(), "y": self.outer_after.ravel()[::3].log10()}
        layers = (
            Layer("scatter", far, "on shells", series=4),
            Layer("scatter", {"x": self.now.log10(), "y": self.after.log10()}, "held-out", 0),
            Layer("line", {"x": x.log10(), "y": bound.log10()}, "condition", series=1),
            Layer("line", {"x": x.log10(), "y": x.log10()}, "no change", series=2, dashed=True),
        )
        places = torch.tensor(SHELLS)
        shares = (
            *line_with_band(
                torch.cat([torch.ones(1), places]), percent(self.rising), "V rises", 3
            ),
            *line_with_band(places, percent(self.shells), "condition broken", 1),
        )
        return (
            Figure(
                "drift_condition",
                (
                    Panel("log10 V(x)", "log10 KV(x)", layers, "One step's expectation"),
                    Panel("radii of the data (1: held-out states)", "percent", shares, "Shares"),
                ),
                "The Lyapunov function before a step and its expectation after, at held-out "
                "states and on shells around the data; above the condition's line it is broken. "
                "Right: where V rises and where it is broken, with 95% intervals over documents.",
            ),
        )


def _among(wrong: Tensor, below: Tensor, seed: int) -> Interval:
    """The share over documents that have something to count."""
    if float(below.sum()) == 0:
        return Interval.unknown(torch.tensor(torch.nan, dtype=torch.float64))
    return Bootstrap.of(below, seed=seed).ratio(wrong, below)
