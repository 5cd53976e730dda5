"""Sentences, estimates and arrays of the model's own law of the next state."""

from torch import Tensor

from sdelens.branching.cross_entropy import CrossEntropy
from sdelens.branching.next_state_law import WORDS
from sdelens.evidence.interval import Interval
from sdelens.laws.law import prefixed
from sdelens.report import Estimate
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.transition_law.comparison import TRUTHS, LawComparison
from sdelens_plugins.analyzers.transition_law.law_averages import LawAverages

LABELS = {
    "entropy": ("entropy of the next token", "nats"),
    "exponential": ("effective branches, exp of the entropy", "tokens"),
    "collision": ("effective branches, 1 / sum p²", "tokens"),
}
READING = (
    "For a prefix the law of the next state is known: the next token v has the probability that "
    "the model gives it, and the next state is the layer's state after v. m* is its mean and S* "
    "its covariance, here in training-standardised coordinates and averaged over prefixes; the "
    "branches of a single prefix are too few for estimates of its own. Effective branches are exp "
    "of the entropy of the next token, and 1 over the sum of its squared probabilities. A correct "
    "Markov fit has the noise S* + (m* - m)(m* - m)', which exceeds S* wherever states do not "
    "determine m*; agreement with it is computed over prefixes and corrected for the error of "
    "their branches. The model's law is discrete, so its divergence from a density is infinite; "
    "its cross-entropy is finite, and differences of cross-entropies are differences of "
    "divergences. "
)


def headline(averages: LawAverages) -> str:
    """Effective branches, and the fit against the best baseline at the last layer."""
    last = averages.views[-1]
    return (
        f"Held-out prefixes have {with_interval(averages.words[1, 0], 1)} effective next tokens "
        f"on average, and at {last} {_against_baselines(averages.comparisons[last])}."
    )


def _against_baselines(comparison: LawComparison) -> str:
    """The fit against the best baseline by cross-entropy, or else by its noise directions."""
    if comparison.excess is None:
        overlap = with_interval(comparison.overlaps["total"], 2)
        return f"the leading noise directions of the fit overlap with the model's by {overlap}"
    name, gap = comparison.best_baseline(comparison.excess)
    fit = "the fit's cross-entropy with the model's own next-state law is"
    if float(gap.high) < 0:
        return f"{fit} higher than that of the baseline “{name}”, by {with_interval(-gap)} {NATS}"
    if float(gap.low) > 0:
        return (
            f"{fit} lower than that of every baseline, by at least {with_interval(gap)} {NATS} "
            f"(“{name}”)"
        )
    return (
        f"{fit} not significantly lower than that of the baseline “{name}” "
        f"({with_interval(gap)} {NATS})"
    )


def estimates(averages: LawAverages) -> tuple[Estimate, ...]:
    """Next tokens by group of prefixes, then noise, agreement and cross-entropies by layer."""
    check = averages.laws.sampler_check
    rows = [
        Estimate("next tokens tried", float(averages.laws.tokens)),
        Estimate(
            "surprisal minus entropy of the texts",
            check.excess,
            check.stderr,
            "nats per token (0 if the model wrote them with these settings)",
        ),
    ]
    classes, bins = averages.held_out.common_groups(averages.count.sum(1))
    for group in (0, *classes, *bins):
        for k, name in enumerate(WORDS if group == 0 else WORDS[:2]):
            label, unit = LABELS[name]
            label = f"{label}, {averages.held_out.names[group]}"
            rows.append(estimate(label, averages.words[k, group], unit))
    for k, view in enumerate(averages.views):
        rows += _noise(averages, k, view)
        rows += _agreement(averages, view)
        rows += _directions(averages.comparisons[view])
        if nats := averages.comparisons[view].law.nats:
            rows += _cross_entropies(averages.comparisons[view], nats)
    return tuple(rows)


def _noise(averages: LawAverages, k: int, view: View) -> list[Estimate]:
    """Traces of the model's and the fit's noise."""
    values, _ = averages.spectra[view]
    noise, trace = averages.laws.sites[view.site].noise, "training variances per dimension"
    return [
        estimate(f"{view}: trace of S*", averages.noise[k, 0], trace),
        Estimate(f"{view}: first eigenvalue", float(values[0] / values.sum()), unit="of S*"),
        Estimate(f"{view}: trace of S* + (m* - m)²", float(noise.total.mean()), unit=trace),
        Estimate(f"{view}: trace of the fit's noise", float(noise.fitted.mean()), unit=trace),
    ]


def _agreement(averages: LawAverages, view: View) -> list[Estimate]:
    """How the size of the fit's noise follows the truth; unknown values are left out."""
    traces, total = averages.traces(view), TRUTHS["total"]
    rows = [
        (f"trace of the fit's noise over {total}", traces.ratio(), "(1 if the noise is right)")
    ]
    if not traces.constant:
        rows.append((f"trace correlation with {total}", traces.correlation(), ""))
        for kind, truth in TRUTHS.items():
            line = traces.line(kind)
            rows.append((f"log variance slope with {truth}", line[0], ""))
            rows.append((f"log variance intercept with {truth}", line[1], ""))
    return [
        estimate(f"{view}: {name}", interval, unit)
        for name, interval, unit in rows
        if not interval.value.isnan()
    ]


def _directions(comparison: LawComparison) -> list[Estimate]:
    """Overlaps of leading subspaces."""
    view, rank, rows = comparison.view, comparison.rank, []
    for kind, truth in TRUTHS.items():
        angles = comparison.angles(kind)
        unit = (
            f"(1: the same, by chance {comparison.chance:.2f}; principal "
            f"angles {float(angles.min()):.0f}° to {float(angles.max()):.0f}°)"
        )
        name = f"{view}: overlap of the leading {rank} directions with {truth}"
        rows.append(estimate(name, comparison.overlaps[kind], unit))
    halves = comparison.directions.halves("total", rank)
    name = f"{view}: the same between halves of the documents, {TRUTHS['total']}"
    return [*rows, Estimate(name, halves, unit="(the reliability of the directions)")]


def _cross_entropies(comparison: LawComparison, nats: CrossEntropy) -> list[Estimate]:
    """The fit's cross-entropy, the texts' log density less it, and the baselines' excess."""
    view, count = comparison.view, comparison.count
    fit = Interval.ratio(nats.branched[0], count)
    occurred = Interval.ratio(nats.occurred[0] - nats.branched[0], count)
    rows = [
        estimate(f"{view}: cross-entropy of the model's law under the fit", fit, NATS),
        estimate(
            f"{view}: minus log density of what occurred, less that",
            occurred,
            f"{NATS} (0 if the texts are the model's own)",
        ),
    ]
    if (excess := comparison.excess) is not None:
        for k, name in enumerate(comparison.baselines):
            label = f"{view}: cross-entropy under {name}, minus the fit's"
            rows.append(estimate(label, excess[k], NATS))
    return rows


def arrays(averages: LawAverages) -> dict[str, Tensor]:
    """By prefix its next-token law; by view S*, its spectrum, traces, m* and the comparison."""
    laws = averages.laws
    named: dict[str, Tensor] = {
        "document": laws.document,
        "position": laws.position,
        **dict(zip(WORDS, laws.words, strict=True)),
    }
    named |= prefixed(words=averages.words.tensors(), noise=averages.noise.tensors())
    for view, comparison in averages.comparisons.items():
        law, (values, vectors) = laws.sites[view.site], averages.spectra[view]
        variance = comparison.directions.mean("sampler").diagonal().contiguous()
        named |= {
            f"{view}.variance": variance,
            f"{view}.eigenvalues": values,
            f"{view}.eigenvectors": vectors.contiguous(),
            f"{view}.mean": law.mean,
            f"{view}.sampler": law.noise.sampler,
            f"{view}.total": law.noise.total,
            f"{view}.fitted": law.noise.fitted,
            **{f"{view}.angles.{kind}": comparison.angles(kind) for kind in TRUTHS},
        }
        if law.nats is not None:
            named[f"{view}.cross_entropy"] = law.nats.branched
            named[f"{view}.occurred"] = law.nats.occurred
    return named
