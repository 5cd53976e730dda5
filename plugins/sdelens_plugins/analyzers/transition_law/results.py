"""The model's own law of the next state in numbers and figures."""

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.branching.next_state_law import WORDS, NextStateLaws, NoiseComparison
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.intervals import (
    bars,
    estimate,
    line_with_band,
    with_interval,
)
from sdelens_plugins.analyzers.common.layer_axis import layer_number
from sdelens_plugins.analyzers.transition_law.comparison import LawComparison
from sdelens_plugins.analyzers.transition_law.trace_agreement import TraceAgreement

EIGENVECTORS = 8
LABELS = {
    "entropy": ("entropy of the next token", "nats"),
    "exponential": ("effective branches, exp of the entropy", "tokens"),
    "collision": ("effective branches, 1 / sum p²", "tokens"),
}


@dataclass(frozen=True, eq=False)
class LawResults:
    """What is shown of the law at all layers."""

    views: tuple[View, ...]
    held: HeldOutPrefixes
    found: NextStateLaws
    seed: int

    @cached_property
    def count(self) -> Float[Tensor, "group unit"]:
        """Prefixes of each group and document."""
        return self._grouped(torch.ones_like(self.found.words[:1]))[0]

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The same draws of documents for everything."""
        return Bootstrap.of(self.count[0], seed=self.seed)

    @cached_property
    def words(self) -> Interval:
        """Entropy and effective branches by group, ``[word, group]``."""
        return self.bootstrap.ratio(self._grouped(self.found.words), self.count)

    @cached_property
    def noise(self) -> Interval:
        """Tr S* per dimension by layer and group."""
        each = torch.stack([self._noise(view).sampler for view in self.views])
        return self.bootstrap.ratio(self._grouped(each), self.count)

    def _noise(self, view: View) -> NoiseComparison:
        return self.found.sites[view.site].noise

    def _grouped(self, values: Float[Tensor, "series prefix"]) -> Tensor:
        sums = self.found.by(values, self.held.cells, self.held.prefixes.units)
        return torch.einsum("gc,scu->sgu", self.held.groups, sums)

    @cached_property
    def spectra(self) -> dict[View, tuple[Float[Tensor, " latent"], Float[Tensor, "latent few"]]]:
        """Of each view: eigenvalues of S*, largest first, and the leading eigenvectors."""
        found = {}
        for view, one in self.compared.items():
            values, vectors = torch.linalg.eigh(one.spread.mean("sampler"))
            found[view] = values.flip(0), vectors.flip(1)[:, :EIGENVECTORS]
        return found

    def traces(self, view: View) -> TraceAgreement:
        """The noise of the fit against the model's own."""
        return TraceAgreement(self._noise(view), self.found.unit, self.bootstrap)

    @cached_property
    def compared(self) -> dict[View, LawComparison]:
        """The fit of each view and its rivals against the model's own law."""
        return {
            view: LawComparison(view, self.found.sites[view.site], self.count[0], self.bootstrap)
            for view in self.views
        }

    def headline(self) -> str:
        entropy, tokens = self.words[0, 0], self.words[1, 0]
        last = self.views[-1]
        values, _ = self.spectra[last]
        top = float(values[:EIGENVECTORS].clamp(min=0).sum() / values.sum())
        return (
            f"After {len(self.found.cell):,} held-out prefixes the next token has "
            f"{with_interval(entropy, 2)} nats, and on average {with_interval(tokens, 1)} "
            "effective "
            f"branches; at {last} it gives each coordinate of the next state a variance of "
            f"{with_interval(self.noise[len(self.views) - 1, 0], 2)} training variances, "
            f"{top:.0%} "
            f"of it along {min(EIGENVECTORS, len(values))} of {len(values)} directions. "
            f"{self.compared[last].headline()}"
        )

    def estimates(self) -> tuple[Estimate, ...]:
        excess = self.found.sampler_check
        found = [
            Estimate("next tokens tried", float(self.found.tokens)),
            Estimate(
                "surprisal less entropy of the texts",
                excess.excess,
                excess.stderr,
                "nats per token (0 if the model wrote them with these settings)",
            ),
        ]
        classes, bins = self.held.common_groups(self.count.sum(1))
        for group in (0, *classes, *bins):
            for k, name in enumerate(WORDS if group == 0 else WORDS[:2]):
                label, unit = LABELS[name]
                label = f"{label}, {self.held.names[group]}"
                found.append(estimate(label, self.words[k, group], unit))
        for k, view in enumerate(self.views):
            found += self._of(view, self.noise[k, 0])
        return tuple(found)

    def _of(self, view: View, noise: Interval) -> list[Estimate]:
        values, _ = self.spectra[view]
        own = self._noise(view)
        trace = "training variances per dimension"
        found = [
            estimate(f"{view}: trace of S*", noise, trace),
            Estimate(f"{view}: first eigenvalue", float(values[0] / values.sum()), unit="of S*"),
            Estimate(f"{view}: trace of S* + (m* - m)²", float(own.total.mean()), unit=trace),
            Estimate(f"{view}: trace of the fit's noise", float(own.fitted.mean()), unit=trace),
        ]
        return [*found, *self._following(view), *self.compared[view].estimates()]

    def _following(self, view: View) -> list[Estimate]:
        """How the fit's noise follows the truth: what is not known is left out."""
        traces, both = self.traces(view), "S* + (m* - m)²"
        right = "(1 if the noise is right)"
        found = [(f"trace of the fit's noise over {both}", traces.ratio(), right)]
        if not traces.constant:
            found.append((f"trace correlation with {both}", traces.correlation(), ""))
            for truth, words in (("total", both), ("sampler", "S*")):
                line = traces.line(truth)
                found.append((f"log variance slope with {words}", line[0], ""))
                found.append((f"log variance intercept with {words}", line[1], ""))
        return [
            estimate(f"{view}: {name}", interval, unit)
            for name, interval, unit in found
            if not interval.value.isnan()
        ]

    def arrays(self) -> dict[str, Tensor]:
        """By view: S*, its spectrum, m* of the first prefixes; by prefix what is known of each."""
        named: dict[str, Tensor] = {
            "document": self.found.document,
            "position": self.found.position,
            **dict(zip(WORDS, self.found.words, strict=True)),
        }
        named |= prefixed(words=self.words.tensors(), noise=self.noise.tensors())
        for view in self.views:
            one, (values, vectors) = self.found.sites[view.site], self.spectra[view]
            named |= {
                f"{view}.variance": self.compared[view]
                .spread.mean("sampler")
                .diagonal()
                .contiguous(),
                f"{view}.eigenvalues": values,
                f"{view}.eigenvectors": vectors.contiguous(),
                f"{view}.mean": one.mean,
                f"{view}.sampler": one.noise.sampler,
                f"{view}.total": one.noise.total,
                f"{view}.fitted": one.noise.fitted,
                **self.compared[view].arrays(),
            }
        return named

    def figures(self) -> tuple[Figure, ...]:
        """Effective branches where a class or bin is common, and the noise by layer."""
        found = (self._branches(), self._spread(), self.compared[self.views[-1]].figure())
        return tuple(figure for figure in found if figure.panels)

    def _branches(self) -> Figure:
        titles = ("By the last token", "By position")
        panels = tuple(
            Panel(
                "",
                "effective branches",
                (bars(self.words[1][few], [self._short(k) for k in few]),),
                title,
            )
            for few, title in zip(self.held.common_groups(self.count.sum(1)), titles, strict=True)
            if few
        )
        caption = (
            "How many equally likely next tokens a prefix has (exp of the entropy), by the class "
            "of its last token and by its position, averaged over prefixes, with 95% intervals "
            f"over {counted(self.bootstrap.documents, 'held-out document')}."
        )
        return Figure("branches", panels, caption)

    def _short(self, group: int) -> str:
        return self.held.names[group].removeprefix("positions ")

    def _spread(self) -> Figure:
        x = torch.tensor([layer_number(view) for view in self.views]).double()
        last = self.views[-1]
        values, _ = self.spectra[last]
        shares = values.clamp(min=0).cumsum(0) / values.sum()
        lines = Layer("line", {"x": torch.arange(1, len(values) + 1).double(), "y": shares})
        trace = Panel(
            "layer",
            "variance per dimension, training variances",
            line_with_band(x, self.noise[:, 0], "", 4),
            "Trace of S* by layer",
        )
        along = Panel("directions", "share of the trace", (lines,), f"Spectrum of S* at {last}")
        many = len(self.views) > 1
        caption = (
            "What the draw of the next token adds to the next state: its variance by layer, with "
            "95% intervals over documents, and the share of it in the leading directions. "
            "Eigenvalues are of the average over prefixes; single prefixes have fewer directions."
        )
        return Figure("noise", (trace, along) if many else (along,), caption)
