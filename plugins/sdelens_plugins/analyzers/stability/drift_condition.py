"""A drift condition of the fitted kernel, checked on held-out states and on shells."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.lyapunov import DriftCondition, Quadratic
from sdelens.dynamics.region import Region
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.estimation.ratio import summed
from sdelens.evidence.interval import Interval
from sdelens.laws.sde import SDE

SHELLS = (1.5, 2.0, 3.0)
"""Radii of the shells, in radii of the data."""


@dataclass(frozen=True, eq=False)
class DriftConditionCheck:
    """Shares of states at which a fitted drift condition fails, with intervals over documents."""

    rule: DriftCondition
    v: Float[Tensor, " state"]
    """V at held-out states."""
    kv: Float[Tensor, " state"]
    """KV, the expectation of V one step later."""
    broken: Interval
    """Of held-out states above the level; NaN if there are none."""
    above_level: int
    """Held-out states above the level."""
    documents: int
    """Documents with a held-out state."""
    shell_broken: Interval
    shell_v: Float[Tensor, "shell state"]
    shell_kv: Float[Tensor, "shell state"]
    rising: Interval
    """KV > V, at held-out states and on the shells."""
    generator: Interval
    """Held-out states with LV > 0, the criterion of continuous time."""

    @classmethod
    def of(
        cls,
        sde: SDE,
        form: Quadratic,
        validation: Sample,
        test: Sample,
        region: Region,
    ) -> "DriftConditionCheck":
        """Fits the condition on validation states and checks it elsewhere, each at its time."""
        validation_step, step = StepMap.of(sde, validation.t), StepMap.of(sde, test.t)
        rule = DriftCondition.of(form(validation.x), form.after(validation_step, validation.x))
        v, kv = form(test.x), form.after(step, test.x)
        shells = [region.shell(test.x, radius) for radius in SHELLS]
        shell_v = torch.stack([form(x) for x in shells])
        shell_kv = torch.stack([form.after(step, x) for x in shells])

        def by_document(values: Tensor) -> Tensor:
            return summed(values, test.document, test.documents)[0]

        above, count = rule.beyond(v), by_document(torch.ones_like(v))
        pairs = list(zip(shell_v, shell_kv, strict=True))
        shell_broken = torch.stack([by_document(rule.broken(*pair)) for pair in pairs])
        rising = [by_document((after > now).double()) for now, after in [(v, kv), *pairs]]
        continuous = by_document((form.generator(step, test.x) > 0).double())
        return cls(
            rule=rule,
            v=v,
            kv=kv,
            broken=_shares(by_document(rule.broken(v, kv) * above), by_document(above)),
            above_level=int(above.sum()),
            documents=int((count > 0).sum()),
            shell_broken=_shares(shell_broken, count),
            shell_v=shell_v,
            shell_kv=shell_kv,
            rising=_shares(torch.stack(rising), count),
            generator=_shares(continuous, count),
        )

    @property
    def upper_bound(self) -> float:
        """The 95% upper bound of the share of documents with a violation if none has one."""
        bound: float = 1 - 0.05 ** (1 / max(self.documents, 1))
        return bound


def _shares(broken: Tensor, count: Tensor) -> Interval:
    """Shares over documents with something to count; NaN if there are none."""
    if float(count.sum()) == 0:
        return Interval.unknown(torch.tensor(torch.nan, dtype=torch.float64))
    return Interval.ratio(broken, count).map(lambda end: end.clamp(0, 1))
