"""Sentences, estimates and arrays of each section of a goodness-of-fit analysis."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.evidence.normality import expected_distance
from sdelens.evidence.verdict import LABELS
from sdelens.fitting.baselines import NAMES
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens.summary import Check, Outcome
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval
from sdelens_plugins.analyzers.common.section import Section
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.goodness_of_fit.calibration import LEVELS, REGIONS, Calibration
from sdelens_plugins.analyzers.goodness_of_fit.gains import Gains
from sdelens_plugins.analyzers.goodness_of_fit.horizons import SCHEMES, ForecastScores
from sdelens_plugins.analyzers.goodness_of_fit.null_data import NullData

RELATIVE = {"crps": "CRPS", "energy": "energy score"}
TOLERANCE = 0.03
"""Coverage that differs by no more than this is called calibrated."""
RESIDUALS = ("coordinates", "projections", "length")
READING = (
    "Everything is measured on held-out documents. A document is one observation, so intervals "
    "resample whole documents. Gains are paired: both laws score the same transitions. With "
    "constant noise only the means differ; with state-dependent noise, each mean has noise of "
    "that kind fitted around it. CRPS and energy score are proper scores too, in the units of the "
    "states; they penalise states far in the tails less than the likelihood does. If the law were "
    "true, the residuals r of each step (the next state minus its mean, whitened by the law's "
    "covariance) would be independent standard normal. The distances measure the size of the "
    "departure, which with many transitions matters more than its significance; random "
    "projections of many coordinates are nearly normal for most laws. Coverage below nominal "
    "means that the law is overconfident. The iterated kernel is worse than a direct fit if the "
    "states remember more than the last one, or if errors of the drift add up; if it is not "
    "worse, this does not show that the process is Markov. Null data measure the part of a gain "
    "that needs neither training nor word order. States permuted in time still tell documents "
    "apart. The states of an untrained model are little more than the words themselves, so a "
    "linear fit finds the statistics of the text in them, and a gain there can exceed that of the "
    "trained model. None of this shows a diffusion."
)
NO_MODEL = (
    "The untrained model and the permuted tokens are left out: they need the model of the "
    "run, which is not loaded."
)


def gain_results(gains: Gains) -> Section:
    """Gains of the fit's mean over the baselines."""
    nats = gains.nats
    best = min(gains.names, key=lambda name: float(nats.value[gains.names.index(name)]))
    sentence = (
        f"With constant noise, the mean of the {gains.record.probe} fit gains "
        f"{with_interval(nats[gains.names.index(best)])} {NATS} over the best baseline "
        f"({LABELS[best]}) on {gains.documents:,} held-out documents."
    )
    intervals = {"gain.nats": nats, **{f"lower.{s}": gains.relative(s) for s in RELATIVE}}
    intervals |= {f"along.{name}": gains.by_position(name) for name in gains.positional}
    if gains.state_dependent:
        intervals["gain.nats_state_dependent"] = gains.state_dependent
    arrays = prefixed(**{name: interval.tensors() for name, interval in intervals.items()})
    arrays |= {"along.position": gains.positions, "along.count": gains.card.count.sum(0)}
    return Section(sentence, _gain_estimates(gains), arrays)


def _gain_estimates(gains: Gains) -> tuple[Estimate, ...]:
    documents = Estimate(
        "held-out documents",
        float(gains.documents),
        unit=f"(the effective sample size; {int(gains.card.count.sum()):,} transitions)",
    )
    rows = [documents, *_by_baseline(gains, "gain over {}, constant noise", gains.nats, NATS)]
    if gains.state_dependent:
        name = "gain over {}, state-dependent noise"
        rows += _by_baseline(gains, name, gains.state_dependent, NATS)
    rows.append(estimate("CRPS of the fit", gains.score("crps"), "per latent coordinate"))
    rows.append(estimate("energy score of the fit", gains.score("energy"), "latent units"))
    for score, label in RELATIVE.items():
        name, unit = f"{label} lower than that of {{}}", f"of its {label}"
        rows += _by_baseline(gains, name, gains.relative(score), unit, gains.positional)
    for name in gains.positional:
        gain, label = gains.by_position(name), LABELS[name]
        rows.append(estimate(f"gain over {label}, first positions", gain[0], NATS))
        rows.append(estimate(f"gain over {label}, last positions", gain[-1], NATS))
    return tuple(rows)


def _by_baseline(
    gains: Gains, name: str, intervals: Interval, unit: str, only: tuple[str, ...] = NAMES
) -> list[Estimate]:
    return [
        estimate(name.format(LABELS[baseline]), intervals[row], unit)
        for row, baseline in enumerate(gains.names)
        if baseline in only
    ]


def calibration_results(calibration: Calibration) -> Section:
    """Coverage of the fit's intervals, and its standardised residuals."""
    marginal, joint = calibration.coverage[len(LEVELS) - 1], calibration.coverage[-1]
    sentence = (
        f"The fit's {LEVELS[-1]:.0%} intervals contain {with_interval(marginal, 2)} of the "
        f"coordinates and its {LEVELS[-1]:.0%} ellipsoids {with_interval(joint, 2)} of the next "
        "states."
    )
    z = calibration.normal_quantiles
    arrays = prefixed(coverage=calibration.coverage.tensors())
    for name, scores in zip(RESIDUALS, calibration.series, strict=True):
        arrays[f"residual.{name}.distance"] = scores.distance()
        arrays[f"residual.{name}.quantiles"] = scores.quantiles(torch.special.ndtr(z))
    checks = (coverage_check("coordinates", marginal), coverage_check("states", joint))
    arrays |= {"residual.normal": z}
    return Section(sentence, _calibration_estimates(calibration), arrays, checks=checks)


def coverage_check(what: str, coverage: Interval) -> Check:
    """Whether the largest region contains its share of the data, up to `TOLERANCE`."""
    low, high = LEVELS[-1] - TOLERANCE, LEVELS[-1] + TOLERANCE
    inside = low <= float(coverage.low) and float(coverage.high) <= high
    outside = float(coverage.high) < low or float(coverage.low) > high
    outcome: Outcome = "yes" if inside else "no" if outside else "unclear"
    value = f"{float(coverage.value):.0%} of {LEVELS[-1]:.0%}"
    return Check(f"calibrated: {what}", outcome, value)


def _calibration_estimates(calibration: Calibration) -> tuple[Estimate, ...]:
    chance = f"of 0 to 1 (by chance {expected_distance(calibration.length.count):.3f})"
    regions = [(region, level) for region in REGIONS.values() for level in LEVELS]
    rows = [
        estimate(
            f"inside {region}, {level:.0%}", calibration.coverage[k], f"of {level:g} expected"
        )
        for k, (region, level) in enumerate(regions)
    ]
    rows.append(estimate("mean of |r|² per dimension", calibration.radius, "of 1 expected"))
    for name, scores in zip(("coordinate", "projection"), calibration.series[:2], strict=True):
        distance, kurtosis = scores.distance(), scores.moment(4) / scores.moment(2) ** 2 - 3
        median = f"PIT's distance from uniform, median {name}"
        worst = f"PIT's distance from uniform, worst {name}"
        rows += [
            Estimate(median, _median(distance), unit=chance),
            Estimate(worst, float(distance.max()), unit=chance),
            Estimate(f"excess kurtosis, median {name}", _median(kurtosis), unit="of 0 expected"),
        ]
    length = float(calibration.length.distance())
    return (*rows, Estimate("distance of |r|² from chi-square", length, unit=chance))


def _median(values: Float[Tensor, " series"]) -> float:
    return float(values.median())


def horizon_results(forecasts: ForecastScores) -> Section:
    """Forecasts of several steps by the iterated kernel and by direct fits."""
    last = counted(forecasts.horizons[-1], "step")
    sentence = (
        f"Iterated over {last}, the kernel gains "
        f"{with_interval(forecasts.gain(0, 1)[-1])} {NATS} over a linear fit of that many steps."
    )
    rows = []
    for row, horizon in enumerate(forecasts.horizons):
        steps = counted(horizon, "step")
        for scheme, label in enumerate(SCHEMES.values()):
            r2 = forecasts.r2(scheme)[row]
            rows.append(estimate(f"increment R², {steps}, {label}", r2, ""))
        gain, lower = (measure(0, 1)[row] for measure in (forecasts.gain, forecasts.lower))
        rows.append(estimate(f"gain of iterated over direct linear, {steps}", gain, NATS))
        name = f"energy score lower than direct linear's, {steps}"
        rows.append(estimate(name, lower, "percent"))
    measures = {"r2": forecasts.r2, "gain": forecasts.gain, "lower": forecasts.lower}
    arrays = {"horizon.steps": torch.tensor(forecasts.horizons)} | prefixed(
        **{
            f"horizon.{name}.{measure}": interval(scheme).tensors()
            for scheme, name in enumerate(SCHEMES)
            for measure, interval in measures.items()
        }
    )
    return Section(sentence, tuple(rows), arrays)


def null_results(nulls: NullData) -> Section:
    """Gains of the same linear fit on null data."""
    (_, real), *others = nulls.gains.items()
    rest = ", ".join(f"{name} {with_interval(gain)}" for name, gain in others)
    sentence = (
        f"A linear fit gains {with_interval(real)} {NATS} over i.i.d. states per position here; "
        f"{rest}."
    )
    rows = tuple(
        estimate(f"linear over i.i.d. per position, {name}", gain, NATS)
        for name, gain in nulls.gains.items()
    )
    note = "" if "untrained model" in nulls.gains else NO_MODEL
    return Section(sentence, rows, prefixed(null=nulls.stacked.tensors()), note)
