"""Headline, reading, estimates and arrays of the decomposition of the motion."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens.states.recording import View
from sdelens.summary import Summary
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.intervals import estimate, percent_with_interval
from sdelens_plugins.analyzers.common.layer_axis import layer_number
from sdelens_plugins.analyzers.decomposition.measurement import Measurement
from sdelens_plugins.analyzers.decomposition.predictors import LargerProbe
from sdelens_plugins.analyzers.decomposition.shares import PREDICTORS, Decomposition

LABELS = {
    "drift": "drift",
    "lack_of_fit": "lack of fit",
    "memory": "memory",
    "unexplained": "unexplained",
    "sampling_noise": "sampling noise",
    "mismatch": "mismatch of text and model",
    "model_residual": "left under the model's law",
}
BY_LAYER = "layers"
"""The name of the figure of all layers."""
GIVEN = "given the fits"
"""Beside every interval: over held-out documents, with the fitted predictors held fixed."""
READING = (
    "The metric is the inverse of each coordinate's training variance. Motion is the mean squared "
    "distance from a state to the next; by Pythagoras' theorem it is the sum of its parts. Drift "
    "is the part that the fit predicts, scaled by its gain (1 is calibrated). Compare it with the "
    "return to the mean alone, which predicts the training mean at the next position from every "
    "state: a drift with no larger share is no more than that. Lack of fit is what a larger probe "
    "on the same state adds, {larger}; memory is what {lags} earlier states add to that probe. "
    "Both are lower bounds: another class of probes may predict more. The unexplained part is "
    "motion of the model's own mean that none of them predicts; exact states identify their "
    "prefix, so it is a property of this class of probes, not of the state. Sampling noise is "
    "added by the draw of the next token, and no fit can predict it. "
)
FIXED = (
    "Intervals are over held-out documents, with the fits held fixed: they do not include the "
    "variation between training samples. "
)
CROSS_FITTED = (
    "Coefficients are cross-fitted by document and the parts are unbiased, so a part that is zero "
    "may come out slightly negative. "
)
ONE_DOCUMENT = (
    "There is one document, so coefficients are evaluated on the data they were fitted to: the "
    "predicted parts are slightly too large, and there are no intervals. "
)
OTHER_TEXTS = (
    "The texts are not the model's own, so no part of their motion is its sampling noise. Drift, "
    "lack of fit and memory are parts of the motion that occurred. The rest is split into what "
    "the model's own next tokens would leave, and the mismatch of text and model, which is "
    "negative if the fit, made to the texts, predicts them better than the model's own words. "
)
ALL_LAYERS = (
    "The fits are not those of the run: they are linear, in standardised coordinates, and made "
    "for this analysis at every layer of the model. "
)
NOT_CACHED = "Prefixes do not share a cache in this model, so each was read separately. "


@dataclass(frozen=True, eq=False)
class DecompositionResults:
    """The decompositions of all layers, and what they were measured on."""

    views: tuple[View, ...]
    layers: tuple[Decomposition, ...]
    spread: tuple[Float[Tensor, " dim"], ...]
    held: HeldOutPrefixes
    measurement: Measurement
    main: int = -1
    """The number of the layer in the headline: the last one of the run."""
    linear: bool = False
    """Whether the fits are linear ones made for this analysis."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parts."""
        return self.layers[0].names

    @property
    def x(self) -> Float[Tensor, " layer"]:
        """The number of each layer."""
        return torch.tensor([layer_number(view) for view in self.views]).double()

    def headline(self) -> str:
        """The share of drift at the main layer, and that of the return to the mean."""
        drift, mean = self._drift_and_mean
        alone = f"{float(mean.value):.0%}"
        most = float(drift.value) / 2 < float(mean.value) <= float(drift.value)
        comparison = (
            f"most of that is return to the mean ({alone})"
            if most
            else f"the return to the mean alone would predict {alone}"
        )
        law = "a linear drift" if self.linear else "drift"
        return (
            f"With the fits held fixed, {law} predicts {percent_with_interval(drift)} of the "
            f"motion at {self.views[self.main]}; {comparison}."
        )

    @property
    def _drift_and_mean(self) -> tuple[Interval, Interval]:
        layer = self.layers[self.main]
        return layer.shares[0, 0], layer.reversion[0]

    def summary(self) -> Summary:
        """The share of drift in a few words, and the figure of all layers."""
        drift, mean = (float(part.value) for part in self._drift_and_mean)
        beyond = f"the return to the mean alone predicts {mean:.0%}"
        law = "A linear drift" if self.linear else "Drift"
        sentence = f"{law} predicts {drift:.0%} of the next step; {beyond}."
        return Summary(sentence, figure=BY_LAYER)

    def estimates(self) -> tuple[Estimate, ...]:
        """Estimates of every layer, and of classes and positions at the main layer."""
        agreement = self.measurement.agreement
        rows = [
            Estimate("next tokens tried", float(self.measurement.tokens)),
            Estimate(
                "surprisal minus entropy of the texts",
                agreement.excess,
                agreement.stderr,
                "nats per token (0 if the model wrote them with these settings)",
            ),
        ]
        for view, layer, spread in zip(self.views, self.layers, self.spread, strict=True):
            rows += self._parts(f"{view}", layer, 0)
            for number, name in enumerate(PREDICTORS):
                gain = layer.gains[number]
                rows.append(
                    estimate(
                        f"{view}: gain of {LABELS[name]}", gain, f"(1 is calibrated), {GIVEN}"
                    )
                )
            unit = "over the motion that occurred"
            rows.append(estimate(f"{view}: motion by branches, minus 1", layer.discrepancy, unit))
            name, deviation = f"{view}: median training deviation", float(spread.median())
            rows.append(Estimate(name, deviation, unit="(metric)"))
        main, view = self.layers[self.main], self.views[self.main]
        for group in (k for part in self.held.common_groups(main.count) for k in part):
            rows += self._parts(f"{view}, {self.held.names[group]}", main, group)
        return tuple(rows)

    def _parts(self, name: str, layer: Decomposition, group: int) -> list[Estimate]:
        unit = f"of the motion ({int(layer.count[group]):,} prefixes), {GIVEN}"
        return [
            *(
                estimate(f"{name}: {LABELS[part]}", layer.shares[group, k], unit)
                for k, part in enumerate(self.names)
            ),
            estimate(
                f"{name}: return to the mean alone",
                layer.reversion[group],
                f"of the motion (to compare with drift; not a part of the sum), {GIVEN}",
            ),
            estimate(f"{name}: motion", layer.motion[group], "variances per dimension"),
        ]

    def arrays(self) -> dict[str, Tensor]:
        """Shares, gains and motion, by layer, group and part."""
        arrays: dict[str, Tensor] = {"layer": self.x, "edges": self.held.edges}
        for name in ("shares", "reversion", "gains", "motion", "discrepancy"):
            intervals = Interval.stack(getattr(layer, name) for layer in self.layers)
            arrays |= prefixed(**{name: intervals.tensors()})
        arrays["count"] = torch.stack([layer.count for layer in self.layers])
        deviations = zip(self.views, self.spread, strict=True)
        return arrays | {f"{view}.deviation": spread for view, spread in deviations}


def reading(measurement: Measurement, larger: LargerProbe, *, own: bool, linear: bool) -> str:
    """How to read the numbers of this run.

    `own` says whether the model wrote the texts, `linear` whether every layer had its own fit.
    """
    return "".join(
        [
            "" if own else OTHER_TEXTS,
            ALL_LAYERS if linear else "",
            READING.format(larger=larger, lags=larger.lags),
            FIXED,
            CROSS_FITTED if measurement.agreement.units > 1 else ONE_DOCUMENT,
            "" if measurement.cached else NOT_CACHED,
        ]
    )
