"""Learning curves: drift loss, diffusion loss and their total by epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from sdelens.fitting.study import Study
from sdelens.protocols import Epoch
from sdelens.report import Estimate, Figure, Finding, Layer, Panel
from sdelens.summary import REAL
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
    "the cross-entropy of the data under the model's conditional law, which is the paper's "
    "Kullback-Leibler divergence up to the entropy of the data. For continuous states the zero of "
    "that entropy depends on the units, so the loss may be negative and only differences mean "
    "something. It is the exact negative log-likelihood of the next state, depends on drift and "
    "noise, and is the one loss that is minimised and that selects the best epoch. The total is "
    "the sum of the two, as in the paper; it adds squares to nats, is recorded for comparison and "
    "is never minimised. Both are in the coordinates of the fit's basis. The training loss is a "
    "mean over the epoch, while the weights still change, and the validation loss is computed at "
    "its end; early on the first can therefore exceed the second. The learning rate of the neural "
    "probe falls to zero at the last planned epoch, so every curve flattens there: a flat curve "
    "does not show that longer training would not help, and a best epoch that is the last does "
    "not show that it would. A falling loss shows that the optimiser works, not that the process "
    "is a diffusion; for that, see the held-out scores beside the baselines."
)


@dataclass(frozen=True)
class LossesAnalyzer:
    """Training and validation losses by epoch, and the best epoch."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = REAL
    cost: ClassVar[str] = "seconds"

    def analyze(self, study: Study, *, seed: int) -> Finding:
        del seed  # nothing is drawn
        view, viewed = study.single
        record = viewed.fitted.record
        if not record.history:
            return Finding(
                view=str(view),
                headline=f"There are no losses by epoch: {record.probe} is solved in closed form.",
                reading="A closed-form fit has no epochs; judge it by the held-out scores.",
            )
        curves = TrainingCurves(record.history)
        return Finding(
            view=str(view),
            headline=curves.headline(),
            reading=READING,
            estimates=(*curves.estimates(), *final_loss(record.scores)),
            arrays={
                f"{side}.{name}": curves.values(side, name)
                for side in ("train", "validation")
                for name in UNITS
            }
            | {"epoch": curves.numbers},
            figures=(curves.figure(),),
        )


def final_loss(scores: Mapping[str, Any]) -> list[Estimate]:
    """The loss of the best epoch's weights on test documents, which did not select it."""
    if "held_out_nll_per_dim" not in scores:
        return []
    value, stderr = scores["held_out_nll_per_dim"], scores["held_out_nll_stderr"]
    unit = f"{NATS}, standardised (n = {scores['held_out_documents']})"
    return [Estimate("test diffusion loss of the weights kept", value, stderr, unit)]


@dataclass(frozen=True)
class TrainingCurves:
    """The losses of one training run."""

    history: Sequence[Epoch]

    @property
    def numbers(self) -> torch.Tensor:
        """The numbers of the epochs, as the probe counts them."""
        return torch.tensor([epoch.number for epoch in self.history])

    @property
    def best(self) -> int:
        """The index of the epoch whose weights are kept."""
        totals = [epoch.validation["diffusion"] for epoch in self.history]
        return totals.index(min(totals))

    def values(self, side: str, name: str) -> torch.Tensor:
        """A loss by epoch; `side` is train or validation."""
        values = [getattr(epoch, side)[name] for epoch in self.history]
        return torch.tensor(values, dtype=torch.float64)

    def headline(self) -> str:
        """The best epoch and its loss."""
        last, best = self.history[-1], self.history[self.best]
        sentence = (
            f"The diffusion loss in validation was lowest, {best.validation['diffusion']:.4g} "
            f"{NATS}, after epoch {best.number}"
        )
        if best is not last:
            return f"{sentence}, whose weights are kept."
        if last.number < last.planned:
            return f"{sentence}, the last one trained although more were planned."
        return f"{sentence}, the last one planned, so longer training might lower it further."

    def estimates(self) -> tuple[Estimate, ...]:
        """Of one training run, without replicates and hence without standard errors."""
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
        """One panel for each loss; rings mark the best epoch."""
        panels = tuple(self._panel(name, title) for name, title in TITLES.items())
        caption = (
            "Losses by epoch. Only the diffusion loss, the exact likelihood, is minimised; the "
            "rings mark the epoch with the lowest validation loss, whose weights are kept."
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
