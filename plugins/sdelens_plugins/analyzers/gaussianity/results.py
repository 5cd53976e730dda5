"""How normal the next state is, in numbers and figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval
from sdelens_plugins.analyzers.gaussianity.gaussian_divergence import GaussianDivergence
from sdelens_plugins.analyzers.gaussianity.mixture_gain import MixtureGain
from sdelens_plugins.analyzers.gaussianity.next_states import FIRST, PERMUTED, SERIES, NextStates
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSampling

LEAST = 1e-6
"""Training variances per dimension: a law with less is one token, and has no shape."""
MEANS = {
    "exponential": ("effective branches, exp of the entropy", "tokens"),
    "collision": ("effective branches, 1 / sum p²", "tokens"),
    "variance": ("trace of S*", "training variances per dimension"),
    **{f"share{k}": (f"share of S* in its first {k}", "of the trace") for k in FIRST},
    "participation": ("effective directions, (tr S*)² / tr S*²", ""),
    "rank": ("directions that hold 95% of S*", ""),
    "gap": ("largest gap to the normal distribution function", ""),
}
"""What is told of by its mean over prefixes."""
EVERY = ("listed", "exponential", "collision", "variance")
"""What every prefix has, also one with one next token alone."""
CHANCE = {"share1": MEANS["share1"], "gap": MEANS["gap"]}
"""What is told beside the same of permuted weights, by its mean."""
QUARTILES = {0.5: "median", 0.25: "lower quartile", 0.75: "upper quartile"}
BEFORE = 12
"""Tokens of its prefix that are shown."""


@dataclass(frozen=True, eq=False)
class GaussianityResults:
    """What is shown of one layer."""

    fanning: PrefixSampling
    held: HeldOutPrefixes
    found: NextStates
    gain: MixtureGain | None
    seed: int

    @cached_property
    def shaped(self) -> Bool[Tensor, "temperature prefix"]:
        """Which laws have more than one next state."""
        seen: Tensor = self.found.of("variance") >= LEAST
        if not seen[self.own].any():
            raise UsageError(
                "a law of the next state with variance is needed, but after all prefixes one "
                "token is certain: give more prefixes"
            )
        return seen

    @cached_property
    def bootstrap(self) -> Bootstrap:
        """The same draws of documents for everything."""
        return Bootstrap.of(self._sums(torch.ones(len(self.found.unit))), seed=self.seed)

    def _sums(self, values: Float[Tensor, "*series prefix"]) -> Float[Tensor, "*series unit"]:
        return by_unit(values, self.found.unit, self.held.prefixes.units)

    def _mean(
        self, above: Tensor, seen: Bool[Tensor, "*series prefix"], below: Tensor | None = None
    ) -> Interval:
        """Over the prefixes that are seen; or the ratio of two sums over them."""
        count = torch.ones_like(above) if below is None else below
        parts = (self._sums(each.double().where(seen, 0.0)) for each in (above, count))
        return self.bootstrap.ratio(*parts)

    @cached_property
    def means(self) -> dict[str, Interval]:
        """Over prefixes by temperature; of what is of a shape, over those that have one."""
        every = torch.ones_like(self.shaped)
        return {
            name: self._mean(self.found.of(name), every if name in EVERY else self.shaped)
            for name in ("listed", *MEANS)
        }

    @cached_property
    def kurtosis(self) -> dict[float, Interval]:
        """Quartiles over prefixes by temperature."""
        laws = list(zip(self.found.of("kurtosis"), self.shaped, strict=True))
        return {q: Interval.stack([self._quantile(*law, q) for law in laws]) for q in QUARTILES}

    @cached_property
    def chance(self) -> dict[str, Interval]:
        """By temperature, of weights permuted: means of `CHANCE`, and the median of kurtosis."""
        named = {name: self._mean(self.found.by_chance(name), self.shaped) for name in CHANCE}
        return named | {"kurtosis": self._median(self.found.by_chance("kurtosis"))}

    @cached_property
    def apart(self) -> dict[str, Interval]:
        """What the own values are above those of permuted weights, paired by prefix."""
        away = {name: self.found.of(name) - self.found.by_chance(name) for name in PERMUTED}
        named = {name: self._mean(away[name], self.shaped) for name in CHANCE}
        return named | {"kurtosis": self._median(away["kurtosis"])}

    def _median(self, values: Float[Tensor, "temperature prefix"]) -> Interval:
        laws = zip(values, self.shaped, strict=True)
        return Interval.stack([self._quantile(*law, 0.5) for law in laws])

    def _quantile(
        self, values: Float[Tensor, " prefix"], seen: Bool[Tensor, " prefix"], share: float
    ) -> Interval:
        """NaN where no prefix is seen."""
        if not seen.any():
            return Interval.unknown(values.new_full((), torch.nan))
        return self.bootstrap.quantile(values[seen], self.found.unit[seen], share)

    @property
    def temperatures(self) -> Float[Tensor, " temperature"]:
        """Those that were asked for, and the run's own."""
        return torch.tensor(self.fanning.temperatures, dtype=torch.float64)

    @property
    def own(self) -> int:
        """Which temperature is the run's own."""
        return self.fanning.temperatures.index(self.fanning.sampler.temperature)

    def _divergence(
        self, name: str, *, of: str = "gaussian_divergence", per_rank: bool = False
    ) -> Interval:
        """At the run's own temperature."""
        found: GaussianDivergence = getattr(self.found, of)
        below = found.rank if per_rank else None
        return self._mean(getattr(found, name), self.shaped[self.own], below)

    def headline(self) -> str:
        branches, first = (self.means[name][self.own] for name in ("exponential", "share1"))
        kurtosis, chance = self.kurtosis[0.5][self.own], self.apart["kurtosis"][self.own]
        away, rank = self._divergence("nats", per_rank=True), self._divergence("rank")
        alone = self._divergence("nats", of="ignorance", per_rank=True)
        said = (
            f"After {len(self.found.unit)} held-out prefixes the next state is a mixture of "
            f"{with_interval(branches, 1)} effective points, with {with_interval(first, 2)} of "
            "its "
            f"variance along one direction, whose excess kurtosis is {with_interval(kurtosis, 2)} "
            "by "
            "the median (0 for a Gaussian, -2 for two equal points); it differs by "
            f"{with_interval(chance, 2)} from that of the same weights on other tokens of the "
            "prefix. "
            "The fit's Gaussian is "
            f"{with_interval(away, 2)} nats per direction from one with the right moments, in the "
            f"{with_interval(rank, 0)} directions that hold 95% of the variance; one of all "
            "training "
            f"states is {with_interval(alone, 2)} away."
        )
        return said + (self.gain.sentence() if self.gain else "")

    def covered(self) -> str:
        """How much of the law is enumerated, for the reading."""
        share, most = float(self.means["listed"].value[-1]), self.fanning.temperatures[-1]
        lost, prefixes = int((~self.shaped).any(0).sum()), len(self.found.unit)
        said = (
            f" Tokens that were tried for certain hold {share:.1%} of the law at temperature "
            f"{most:g}, more at lower ones; draws stand for the rest, with its weight."
        )
        alone = (
            f" {lost} of {prefixes} prefixes have one next token alone at some temperature, and "
            "no shape there."
        )
        every = " Every next token was tried."
        return (every if share > 1 - 1e-9 else said) + (alone if lost else "")

    def estimates(self) -> tuple[Estimate, ...]:
        excess = self.found.agreement
        return (
            Estimate("next tokens tried", float(self.found.fed)),
            Estimate(
                "surprisal less entropy of the texts",
                excess.excess,
                excess.stderr,
                "nats per token (0 if the model wrote them with these settings)",
            ),
            *self._divergences(),
            *(one for k in range(len(self.fanning.temperatures)) for one in self._warm(k)),
            *(self.gain.estimates() if self.gain else ()),
        )

    def _divergences(self) -> Iterator[Estimate]:
        """At the run's own temperature."""
        yield estimate("divergence of the fit", self._divergence("nats"), "nats")
        for name in ("noise", "mean"):
            yield estimate(f"divergence of the fit, by its {name}", self._divergence(name), "nats")
        for name, of in (("the fit", "gaussian_divergence"), ("all training states", "ignorance")):
            each = self._divergence("nats", of=of, per_rank=True)
            yield estimate(f"divergence of {name}, per direction", each, "nats")
        yield estimate("directions of the divergence", self._divergence("rank"), "")
        floor = self.found.gaussian_divergence.floor[self.shaped[self.own]]
        unit = "training variances"
        yield Estimate("smallest variance in them", float(floor.min()), unit=unit)
        yield Estimate("median of the smallest", float(floor.median()), unit=unit)

    def _warm(self, k: int) -> Iterator[Estimate]:
        """At one temperature."""
        label = f"temperature {self.fanning.temperatures[k]:g}"
        listed, lost = float(self.means["listed"].value[k]), float((~self.shaped[k]).sum())
        yield Estimate(f"{label}: enumerated", listed, unit="of the law")
        yield Estimate(f"{label}: prefixes with one next token alone", lost)
        named = [(said, unit, self.means[name][k]) for name, (said, unit) in MEANS.items()]
        named += [(f"excess kurtosis, {q}", "", self.kurtosis[s][k]) for s, q in QUARTILES.items()]
        for what, found in (("weights permuted", self.chance), ("own less permuted", self.apart)):
            told = [(f"{said}, {what}", unit, found[s][k]) for s, (said, unit) in CHANCE.items()]
            named += [*told, (f"excess kurtosis, median, {what}", "", found["kurtosis"][k])]
        for said, unit, interval in named:
            if not interval.value.isnan():  # where all prefixes have one next token alone
                yield estimate(f"{label}: {said}", interval, unit)

    def arrays(self) -> dict[str, Tensor]:
        """By temperature and prefix what is known of each; divergences; the example's points."""
        named: dict[str, Tensor] = {
            "temperature": self.temperatures,
            "document": self.found.document,
            "position": self.found.position,
            "shaped": self.shaped,
            **{name: self.found.of(name).contiguous() for name in SERIES},
            **{f"permuted.{n}": self.found.by_chance(n).contiguous() for n in PERMUTED},
            **{
                f"divergence.{name}": t for name, t in vars(self.found.gaussian_divergence).items()
            },
            **{f"ignorance.{name}": t for name, t in vars(self.found.ignorance).items()},
        }
        atoms = vars(self.found.atoms).items()
        named |= {f"example.{name}": each[self.example].clone() for name, each in atoms}
        return named | prefixed(mixture=self.gain.gains.tensors() if self.gain else {})

    @cached_property
    def example(self) -> int:
        """The prefix whose kurtosis at the run's own temperature is the median."""
        middle = self.kurtosis[0.5].value[self.own]
        away = (self.found.of("kurtosis")[self.own] - middle).abs()
        return int(away.masked_fill(~self.shaped[self.own], torch.inf).argmin())

    def prefix(self, place: int) -> str:
        """Its last words."""
        row = int((self.held.prefixes.numbers == self.found.document[place]).nonzero()[0])
        end = int(self.found.position[place]) + 1
        tokens = list(self.held.prefixes.documents)[row].tokens[max(0, end - BEFORE) : end]
        return " ".join("".join(self.held.model.decode(tokens)).split())
