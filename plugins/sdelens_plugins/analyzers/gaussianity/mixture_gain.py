"""What a mixture of Gaussians says of held-out steps that one Gaussian does not."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.fitting.scores import tally
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.laws.law import Law
from sdelens.protocols import ignore_epoch
from sdelens.report import Estimate, Figure, Panel
from sdelens.seeds import derive
from sdelens.settings import build
from sdelens_plugins.analyzers.common.intervals import bars, estimate, with_interval
from sdelens_plugins.analyzers.gaussianity.correlated import Correlated

RIVALS = ("one", "correlated")
LOWER = ", lower"
NAMES = ("over one Gaussian", "over one with correlations")


@dataclass(frozen=True, eq=False)
class MixtureGain:
    """Gains of the mixture in nats per dimension, at each floor over each Gaussian."""

    components: int
    floors: tuple[float, float]
    gains: Interval
    """``[floor, rival]``."""

    @classmethod
    def of(cls, study: Study, *, components: int, steps: int, seed: int) -> "MixtureGain":
        """The `mixture` probe and the same with one component, fitted to training documents.

        Both by the same network, schedule and floors, in at least so many steps; the second rival
        has the means and deviations of the latter, and a full correlation.
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
            laws[f"correlated{floor}"] = Correlated.of(laws[f"one{floor}"], *sides)
        return cls(components, (probe.floor, probe.lower_floor), gains(laws, study, seed))

    def estimates(self) -> list[Estimate]:
        """Every gain."""
        return [
            estimate(
                f"mixture of {self.components} {name}, floor {floor:g}",
                self.gains[row, column],
                "nats per dimension",
            )
            for column, name in enumerate(NAMES)
            for row, floor in enumerate(self.floors)
        ]

    def sentence(self) -> str:
        """For the headline."""
        rivals = ("one", "one that knows how coordinates correlate")
        said = [_told(self.gains[0, k], rival) for k, rival in enumerate(rivals)]
        return (
            f" On held-out steps a mixture of {self.components} Gaussians, by one short training, "
            f"{said[0]}, and {said[1]}, in nats per dimension."
        )

    def figure(self) -> Figure:
        """A bar for each."""
        rivals = ("diagonal", "correlated")
        words = [f"{name}, floor {floor:g}" for name in rivals for floor in self.floors]
        flat = self.gains.map(lambda end: end.mT.flatten())
        caption = (
            f"What a mixture of {self.components} Gaussians gains on held-out steps, at two "
            "floors of its variances, over one Gaussian with the same network and floor "
            "(diagonal), and over one that has a full correlation as well (correlated); with 95% "
            "intervals over documents, of one training. A gain that grows as the floor falls "
            "would be of states that are nearly atoms."
        )
        panel = Panel("", "gain, nats per dimension", (bars(flat, words),))
        return Figure("mixture", (panel,), caption)


def _told(gain: Interval, rival: str) -> str:
    """A negative gain is a loss."""
    if float(gain.value) >= 0:
        return f"gains {with_interval(gain)} over {rival}"
    return f"loses {with_interval(-gain)} against {rival}"


def gains(laws: Mapping[str, Law], study: Study, seed: int) -> Interval:
    """On test documents, ``[floor, rival]``."""
    _, viewed = study.single
    groups = torch.unique(study.documents.group, return_inverse=True)[1]
    numbered = dict(enumerate(groups.tolist()))
    found, _ = tally(laws, viewed.fitted.basis, viewed.test, numbered)
    if not found.transitions:
        raise UsageError("a mixture's gain needs a held-out transition, but there is none")
    nats = dict(zip(found.names, found.nats / found.dim, strict=True))
    pairs = [
        torch.stack([nats[f"{rival}{floor}"] - nats[f"mixture{floor}"] for rival in RIVALS])
        for floor in ("", LOWER)
    ]
    return Bootstrap.of(found.count, seed=seed).ratio(torch.stack(pairs), found.count)
