"""How the fit was trained: drift loss, diffusion loss, total by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sdelens.fitting.study import Study
from sdelens.protocols import Epoch
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens_plugins.analyzers.common.units import NATS

UNITS = {
    "drift": "squared error per dimension",
    "diffusion": NATS,
    "total": "drift + diffusion",
}
TITLES = {
    "drift": "Drift loss",
    "diffusion": "Diffusion loss (minimised)",
    "total": "Total (not minimised)",
}
READING = (
    "The drift loss is the mean squared error of the predicted next state. The diffusion loss is "
    "the cross-entropy of the data under the model's conditional law: the paper's "
    "Kullback-Leibler divergence up to the entropy of the data themselves. For continuous states "
    "the zero of that entropy depends on the units, so the loss may be negative, and only "
    "differences mean something. It is the exact likelihood of the next state, which drift and "
    "noise both enter, and the one loss that is minimised and chooses the best epoch. The total "
    "is the sum of the two, as in the paper: it adds squares to nats, is recorded for comparison "
    "and was never minimised. Both are in the coordinates of the fit's basis. The training "
    "loss is a mean over the epoch, while the weights still move, and the validation loss is "
    "taken at its end; early on the first can therefore lie above the second. The learning rate "
    "of the neural probe falls to zero at the last epoch planned, and every curve flattens there: "
    "that it is flat does not say that a longer training would find nothing better, nor does a "
    "best epoch that is the last say that it would. A loss that falls "
    "shows that the optimiser works, not that the process is a diffusion: for that see the "
    "held-out scores beside what they must beat."
)


@dataclass(frozen=True)
class LossesAnalyzer:
    """Losses of training and validation documents by epoch, and where the best one was."""

    needs: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    def analyze(self, study: Study, *, seed: int) -> Finding:
        del seed  # nothing is drawn
        view, viewed = study.single
        record = viewed.fitted.record
        if not record.history:
            return Finding(
                analyzer="losses",
                view=str(view),
                headline=f"There was nothing to train: {record.probe} is solved in closed form.",
                reading="A closed-form fit has no epochs and no losses to follow. Its worth is in "
                "the held-out scores.",
            )
        course = Course(record.history)
        return Finding(
            analyzer="losses",
            view=str(view),
            headline=course.headline(),
            reading=READING,
            estimates=(*course.estimates(), *held_out(record.scores)),
            arrays={
                f"{side}.{name}": course.values(side, name)
                for side in ("train", "validation")
                for name in UNITS
            }
            | {"epoch": course.numbers},
            figures=(course.figure(),),
        )


def held_out(scores: Mapping[str, Any]) -> list[Estimate]:
    """What the weights that are kept score on test documents, which no epoch was chosen by."""
    if "held_out_nll_per_dim" not in scores:
        return []
    value, stderr = scores["held_out_nll_per_dim"], scores["held_out_nll_stderr"]
    unit = f"{NATS}, standardised (n = {scores['held_out_documents']})"
    return [Estimate("test diffusion loss of the weights kept", value, stderr, unit)]


@dataclass(frozen=True)
class Course:
    """The epochs of one training."""

    history: Sequence[Epoch]

    @property
    def numbers(self) -> torch.Tensor:
        """The epochs, counted as the probe counts them."""
        return torch.tensor([epoch.number for epoch in self.history])

    @property
    def best(self) -> int:
        """The index of the epoch whose weights are kept."""
        totals = [epoch.validation["diffusion"] for epoch in self.history]
        return totals.index(min(totals))

    def values(self, side: str, name: str) -> torch.Tensor:
        """One loss by epoch."""
        values = [getattr(epoch, side)[name] for epoch in self.history]
        return torch.tensor(values, dtype=torch.float64)

    def headline(self) -> str:
        """Where validation was best, and what came after."""
        last, best = self.history[-1], self.history[self.best]
        start = (
            f"Validation was best after epoch {best.number} of {last.number} "
            f"(diffusion loss {best.validation['diffusion']:.4g} {NATS})"
        )
        if best is last and last.number < last.planned:
            return f"{start}, the last, though {last.planned} were planned."
        if best is last:
            return (
                f"{start}, the last one planned: whether a longer training would lower it "
                "further, these curves do not tell."
            )
        rise = last.validation["diffusion"] - best.validation["diffusion"]
        change = last.train["diffusion"] - best.train["diffusion"]
        return (
            f"{start}; training went on past it to {last.number}, which changed validation by "
            f"{rise:+.2g} and training by {change:+.2g}. The weights of epoch {best.number} are "
            "kept."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """Of one training, which has no replicates and hence no standard errors."""
        last, best = self.history[-1], self.history[self.best]
        return (
            Estimate("epochs trained", float(last.number), unit=f"of {last.planned} planned"),
            Estimate("best epoch", float(best.number), unit=f"of {last.number} trained"),
            Estimate(
                "validation diffusion loss at the best epoch",
                best.validation["diffusion"],
                unit=NATS,
            ),
            Estimate(
                "validation drift loss at the best epoch",
                best.validation["drift"],
                unit=UNITS["drift"],
            ),
            Estimate(
                "validation less training, best epoch",
                best.validation["diffusion"] - best.train["diffusion"],
                unit=NATS,
            ),
            Estimate(
                "validation rise, best epoch to last",
                last.validation["diffusion"] - best.validation["diffusion"],
                unit=NATS,
            ),
        )

    def figure(self) -> Figure:
        """One panel for each loss; the ring is where the minimised one was best."""
        panels = tuple(self._panel(name, title) for name, title in TITLES.items())
        caption = (
            "Losses by epoch. Only the diffusion loss, the exact likelihood, is minimised; the "
            "rings mark the epoch at which it was best in validation, whose weights are kept."
        )
        return Figure("losses", panels, caption)

    def _panel(self, name: str, title: str) -> Panel:
        x = self.numbers.double()
        train, validation = (self.values(side, name) for side in ("train", "validation"))
        ring = {"x": x[self.best][None], "y": validation[self.best][None]}
        layers = (
            Layer("line", {"x": x, "y": train}, "training", series=0),
            Layer("line", {"x": x, "y": validation}, "validation", series=1, dashed=True),
            Layer("scatter", ring, "best epoch", series=1),
        )
        return Panel("epoch", UNITS[name], layers, title)
