"""Gain of a mixture of Gaussians over one Gaussian on held-out steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sdelens.errors import UsageError
from sdelens.evidence.interval import Interval
from sdelens.fitting.scores import tally
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.laws.law import Law
from sdelens.protocols import ignore_epoch
from sdelens.seeds import derive
from sdelens.settings import build
from sdelens_plugins.analyzers.common.held_out_documents import group_numbers
from sdelens_plugins.analyzers.gaussianity.constant_correlation import WithConstantCorrelation

GAUSSIANS = ("one", "correlated")
LOWER = ", lower"


@dataclass(frozen=True, eq=False)
class MixtureGain:
    """Gains of the mixture in nats per dimension, by variance floor and by Gaussian."""

    components: int
    floors: tuple[float, float]
    gains: Interval
    """``[floor, gaussian]``."""

    @classmethod
    def of(cls, study: Study, *, components: int, steps: int, seed: int) -> "MixtureGain":
        """Fits the `mixture` probe with several components and with one to training documents.

        Both use the same network, schedule and floors, and at least `steps` steps. The second
        Gaussian has the mean and deviations of the first, and a full correlation.
        """
        _, viewed = study.single
        sides = tuple(map(viewed.fitted.encoded, (viewed.train, viewed.validation)))
        laws: dict[str, Law] = {}
        for name, count in (("mixture", components), ("one", 1)):
            settings = {"components": count, "epochs": 1, "least_steps": steps}
            probe = build(load("probe", "mixture"), settings, "mixture")
            law = probe.fit(*sides, seed=derive(seed, name), watch=ignore_epoch).law
            laws |= {name: law, f"{name}{LOWER}": law.variants["lower floor"]}
        for floor in ("", LOWER):
            laws[f"correlated{floor}"] = WithConstantCorrelation.of(laws[f"one{floor}"], *sides)
        return cls(components, (probe.floor, probe.lower_floor), gains(laws, study))


def gains(laws: Mapping[str, Law], study: Study) -> Interval:
    """The gains on test documents, ``[floor, gaussian]``."""
    _, viewed = study.single
    groups = dict(enumerate(group_numbers(study.documents.group).tolist()))
    scores = tally(laws, viewed.fitted.basis, viewed.test, groups)["every"]
    if not scores.transitions:
        raise UsageError("the gain of a mixture needs a held-out transition, but there is none")
    nats = dict(zip(scores.names, scores.nats / scores.dim, strict=True))
    pairs = [
        torch.stack([nats[f"{name}{floor}"] - nats[f"mixture{floor}"] for name in GAUSSIANS])
        for floor in ("", LOWER)
    ]
    return Interval.ratio(torch.stack(pairs), scores.count)
