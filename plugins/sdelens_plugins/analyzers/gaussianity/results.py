"""Headline, reading, estimates and arrays of the test of Gaussianity."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.gaussianity.mixture_gain import MixtureGain
from sdelens_plugins.analyzers.gaussianity.next_states import EIGENVECTORS, PERMUTED, SERIES
from sdelens_plugins.analyzers.gaussianity.prefix_statistics import (
    PERMUTED_MEANS,
    PrefixStatistics,
)

LABELS = {
    "exponential": ("effective branches, exp of the entropy", "tokens"),
    "collision": ("effective branches, 1 / sum p²", "tokens"),
    "variance": ("trace of S*", "training variances per dimension"),
    **{f"share{k}": (f"share of S* in its first {k}", "of the trace") for k in EIGENVECTORS},
    "participation": ("effective directions, (tr S*)² / tr S*²", ""),
    "rank": ("directions that hold 95% of S*", ""),
    "gap": ("largest gap to the normal distribution function", ""),
}
QUARTILES = {0.5: "median", 0.25: "lower quartile", 0.75: "upper quartile"}
WINDOW = 12
"""The number of last tokens of the example's prefix that are quoted."""
READING = (
    "After a prefix the next state is one of as many points as there are tokens, each with the "
    "probability of its token. This law is known, and at other temperatures the same points have "
    "other weights. Coordinates are standardised on training. Excess kurtosis is that of the "
    "projection on the first eigenvector of S*, the covariance of the law: 0 for a Gaussian, -2 "
    "for two equally likely points, -1.2 for a uniform law, and large if one token is nearly "
    "certain and others are far away; hence medians and quartiles over prefixes. A few heavy "
    "points often have negative kurtosis along the direction of most variance, wherever they lie. "
    "Each figure therefore also has the same states with the weights of tokens permuted, and the "
    "difference, paired by prefix. Without a difference, chance explains the shape. A law with "
    "the kurtosis of a Gaussian need not be one, and its other directions are not tested. The "
    "largest gap of distribution functions is 0 for a Gaussian, and at least half the probability "
    "of the most likely token, unless other tokens lead to the same state. The Kullback-Leibler "
    "divergence is between Gaussians, one with the mean and covariance of the law and that of the "
    "fit, on the eigenvectors of each S* that have 95% of its trace. In all directions, and from "
    "the points themselves, it is infinite. A Markov fit with the right mean and noise for all "
    "prefixes that share a state still has a divergence above 0, since it cannot distinguish "
    "them. A fit with diagonal noise can have a larger divergence than the Gaussian of all "
    "training states, which includes the correlations of coordinates. "
)
MIXTURE_READING = (
    "Mixture and Gaussian are fitted to the texts with the same network, with diagonal noise, in "
    "few steps; with more components and steps a mixture may gain more, and loses nothing. The "
    "part of its gain that a Gaussian with correlations also has is not evidence against a "
    "Gaussian law. Intervals are over documents, for one training run; they do not include the "
    "variation between runs. "
)


@dataclass(frozen=True, eq=False)
class GaussianityResults:
    """The statistics of one layer, and the gain of a mixture if it was measured."""

    statistics: PrefixStatistics
    held: HeldOutPrefixes
    gain: MixtureGain | None

    def headline(self) -> str:
        """The divergence of the fit, and the kurtosis of the law."""
        statistics = self.statistics
        divergence = statistics.divergence_mean(
            "nats", statistics.states.fit_divergence, per_rank=True
        )
        kurtosis = statistics.kurtosis[0.5][statistics.own]
        return (
            f"The fit's Gaussian diverges by {with_interval(divergence, 2)} nats per direction "
            "from one with the moments of the model's next-state law, whose median excess "
            f"kurtosis along its first direction is {with_interval(kurtosis, 2)}."
        )

    def reading(self, sampler_note: str) -> str:
        """How to read the numbers, with what was enumerated and what the mixture gains."""
        mixture = MIXTURE_READING + mixture_sentence(self.gain) if self.gain else ""
        return READING + mixture + sampler_note + self._enumerated()

    def _enumerated(self) -> str:
        statistics = self.statistics
        share = float(statistics.means["listed"].value[-1])
        temperature = statistics.sampling.temperatures[-1]
        single = int((~statistics.has_shape).any(0).sum())
        note = (
            " Every next token was enumerated."
            if share > 1 - 1e-9
            else f" Enumerated tokens have {share:.1%} of the law at temperature {temperature:g}, "
            "and more at lower ones; samples represent the rest, with its weight."
        )
        if single:
            note += (
                f" {single} of {len(statistics.states.unit)} prefixes have a single next token at "
                "some temperature, and no shape there."
            )
        return note

    def estimates(self) -> tuple[Estimate, ...]:
        """Divergences at the temperature of the texts, shapes by temperature, and gains."""
        states = self.statistics.states
        return (
            Estimate("next tokens tried", float(states.fed)),
            Estimate(
                "surprisal minus entropy of the texts",
                states.agreement.excess,
                states.agreement.stderr,
                "nats per token (0 if the model wrote them with these settings)",
            ),
            *self._divergences(),
            *(row for k in range(len(states.series[0])) for row in self._at_temperature(k)),
            *(_gain_estimates(self.gain) if self.gain else ()),
        )

    def _divergences(self) -> Iterator[Estimate]:
        statistics, fit = self.statistics, self.statistics.states.fit_divergence
        mean = statistics.divergence_mean
        yield estimate("divergence of the fit", mean("nats", fit), "nats")
        for name in ("noise", "mean"):
            yield estimate(f"divergence of the fit, by its {name}", mean(name, fit), "nats")
        for name, divergence in (
            ("the fit", fit),
            ("all training states", statistics.states.marginal_divergence),
        ):
            nats = mean("nats", divergence, per_rank=True)
            yield estimate(f"divergence of {name}, per direction", nats, "nats")
        yield estimate("directions of the divergence", mean("rank", fit), "")
        floor = fit.floor[statistics.has_shape[statistics.own]]
        unit = "training variances"
        yield Estimate("smallest variance in them", float(floor.min()), unit=unit)
        yield Estimate("median of the smallest", float(floor.median()), unit=unit)

    def _at_temperature(self, k: int) -> Iterator[Estimate]:
        """The estimates at one temperature."""
        statistics = self.statistics
        prefix = f"temperature {statistics.sampling.temperatures[k]:g}"
        listed = float(statistics.means["listed"].value[k])
        single = float((~statistics.has_shape[k]).sum())
        yield Estimate(f"{prefix}: enumerated", listed, unit="of the law")
        yield Estimate(f"{prefix}: prefixes with a single next token", single)
        rows = [(label, unit, statistics.means[n][k]) for n, (label, unit) in LABELS.items()]
        rows += [
            (f"excess kurtosis, {label}", "", statistics.kurtosis[q][k])
            for q, label in QUARTILES.items()
        ]
        for suffix, intervals in (
            ("weights permuted", statistics.permuted),
            ("difference from permuted", statistics.difference),
        ):
            for name in PERMUTED_MEANS:
                label, unit = LABELS[name]
                rows.append((f"{label}, {suffix}", unit, intervals[name][k]))
            rows.append((f"excess kurtosis, median, {suffix}", "", intervals["kurtosis"][k]))
        for label, unit, interval in rows:
            if not interval.value.isnan():  # NaN if all prefixes have a single next token
                yield estimate(f"{prefix}: {label}", interval, unit)

    def arrays(self) -> dict[str, Tensor]:
        """Series by temperature and prefix, divergences, and the points of the example."""
        statistics, states = self.statistics, self.statistics.states
        arrays: dict[str, Tensor] = {
            "temperature": statistics.temperatures,
            "document": states.document,
            "position": states.position,
            "has_shape": statistics.has_shape,
            **{name: states.of(name).contiguous() for name in SERIES},
            **{f"permuted.{n}": states.permuted_series(n).contiguous() for n in PERMUTED},
        }
        example = {k: rows[statistics.example].clone() for k, rows in vars(states.atoms).items()}
        return arrays | prefixed(
            divergence=vars(states.fit_divergence),
            marginal=vars(states.marginal_divergence),
            example=example,
            mixture=self.gain.gains.tensors() if self.gain else {},
        )

    def example_text(self) -> str:
        """The last words of the example's prefix."""
        states, prefixes = self.statistics.states, self.held.prefixes
        row = int((prefixes.numbers == states.document[self.statistics.example]).nonzero()[0])
        end = int(states.position[self.statistics.example]) + 1
        tokens = list(prefixes.documents)[row].tokens[max(0, end - WINDOW) : end]
        return " ".join("".join(self.held.model.decode(tokens)).split())


def _gain_estimates(gain: MixtureGain) -> list[Estimate]:
    return [
        estimate(
            f"mixture of {gain.components} {name}, floor {floor:g}", gain.gains[row, column], NATS
        )
        for column, name in enumerate(("over one Gaussian", "over one with correlations"))
        for row, floor in enumerate(gain.floors)
    ]


def mixture_sentence(gain: MixtureGain) -> str:
    """The gain of the mixture over both Gaussians, at the higher floor."""
    one, correlated = (
        _gain_or_loss(gain.gains[0, k], name)
        for k, name in enumerate(("one Gaussian", "one with correlated coordinates"))
    )
    return (
        f"On held-out steps a mixture of {gain.components} Gaussians, trained briefly once, "
        f"{one}, and {correlated}, in {NATS}. "
    )


def _gain_or_loss(gain: Interval, name: str) -> str:
    if float(gain.value) >= 0:
        return f"gains {with_interval(gain)} over {name}"
    return f"loses {with_interval(-gain)} against {name}"
