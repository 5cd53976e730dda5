"""Headline, reading, estimates and arrays of the correlations with text complexity."""

import math

import torch
from torch import Tensor

from sdelens.evidence.effects import POWER
from sdelens.report import Estimate
from sdelens.wording import counted
from sdelens_plugins.analyzers.complexity.correlations import (
    LEVEL,
    Correlations,
    MeasureCorrelation,
)
from sdelens_plugins.analyzers.complexity.document_table import OUTCOMES, measure_label

RATINGS = (
    ("nats", "annotated complexity", "The error's correlation with annotated complexity"),
    ("growth", "annotated coherence", "The correlation of growth with annotated coherence"),
)
"""Correlations with ratings of people that the reading states first."""
READING = (
    "Each point of a correlation is one document: its mean error over its steps, and a measure of "
    "its text. Intervals resample documents; they are simultaneous, so all of them together "
    "contain the true correlations in 95% of cases. Under the null, documents are permuted. "
    "P-values are corrected by Holm's method for the number of correlations, including those that "
    "hold the length of the document fixed. Length matters because longer texts have later "
    "positions and other type-token ratios. Measures are simple rules for English; they are noisy "
    "in short texts, which lowers correlations. Texts that the model wrote are less diverse than "
    "those people write, which hides correlations too. Annotations are numbers that the source "
    "had for a text (such as HelpSteer's ratings of responses): they are coarse, and describe the "
    "whole response, of which the run may have read only the beginning. Growth is the mean "
    "logarithm of the factor by which a step of the fit stretches a small deviation in a random "
    "direction: less growth is more stability. A correlation with the model's surprisal means "
    "that the fit errs where the model errs, which need not be caused by any property of the text."
)


def headline(correlations: Correlations) -> str:
    """The strongest significant correlation of the fit's error, if there is one."""
    documents = counted(correlations.table.documents, "test document")
    significant = [each for each in correlations.errors if each.p <= LEVEL]
    if not significant:
        return (
            f"None of {len(correlations.errors)} rank correlations between the fit's error and "
            f"the complexity of the text is significant over {documents}."
        )
    grows = [each for each in significant if each.rho.value > 0]
    best = max(grows or significant, key=lambda each: abs(each.rho.value))
    held = ", with the length held fixed" if best.length_held else ""
    return (
        f"The fit's error ({OUTCOMES[best.outcome]}) {'grows' if grows else 'falls'} with the "
        f"text's {measure_label(best.measure)} over {documents}: rank correlation "
        f"{_with_interval(correlations, best)}{held}."
    )


def reading(correlations: Correlations) -> str:
    """How many correlations are significant, those with ratings, and how to read them."""
    errors, level = correlations.errors, f"Holm, {LEVEL:.0%}"
    significant = [each for each in errors if each.p <= LEVEL]
    grows = sum(each.rho.value > 0 for each in significant)
    counts = (
        f"{grows} of {len(errors)} rank correlations show an error that grows with the "
        f"complexity of the text and {len(significant) - grows} one that falls ({level})."
    )
    power = (
        f"A true correlation of {correlations.detectable:.2f} would be significant with a "
        f"probability of {POWER:.0%}."
    )
    return " ".join([counts, *_ratings(correlations), power, READING])


def _ratings(correlations: Correlations) -> list[str]:
    by_key = {(each.outcome, each.measure, each.length_held): each for each in correlations.all}
    return [
        f"{label} is {_with_interval(correlations, plain)}; with the length held fixed it is "
        f"{_with_interval(correlations, by_key[outcome, measure, True])}."
        for outcome, measure, label in RATINGS
        if (plain := by_key.get((outcome, measure, False)))
    ]


def _with_interval(correlations: Correlations, each: MeasureCorrelation) -> str:
    low, high = each.rho.interval(correlations.level)
    return f"{each.rho.value:.2f} [{low:.2f}, {high:.2f}]"


def estimates(correlations: Correlations) -> tuple[Estimate, ...]:
    """All correlations, and the smallest one that would be detected."""
    rows = []
    for each in correlations.all:
        low, high = each.rho.interval(correlations.level)
        stderr = each.rho.stderr if math.isfinite(each.rho.stderr) else None
        unit = f"simultaneous [{low:.2f}, {high:.2f}], Holm's p = {each.p:.2g}"
        rows.append(Estimate(each.name, each.rho.value, stderr, unit))
    unit = f"with a probability of {POWER:.0%}, over {correlations.table.documents} documents"
    smallest = "smallest correlation that would be significant"
    return (*rows, Estimate(smallest, correlations.detectable, None, unit))


def arrays(correlations: Correlations) -> dict[str, Tensor]:
    """Correlations, simultaneous intervals and p-values, in the order of the estimates."""
    ends = [each.rho.interval(correlations.level) for each in correlations.all]
    columns = {
        "correlation": [each.rho.value for each in correlations.all],
        "correlation.low": [low for low, _ in ends],
        "correlation.high": [high for _, high in ends],
        "correlation.p": [each.p for each in correlations.all],
        "correlation.length_held": [float(each.length_held) for each in correlations.all],
    }
    return {name: torch.tensor(c, dtype=torch.float64) for name, c in columns.items()}
