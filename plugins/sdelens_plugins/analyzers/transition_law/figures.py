"""Figures of the model's own law of the next state."""

import torch

from sdelens.report import Figure, Layer, Panel
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.intervals import bars, intervals_over, line_with_band
from sdelens_plugins.analyzers.common.layer_axis import layer_number
from sdelens_plugins.analyzers.common.units import NATS
from sdelens_plugins.analyzers.transition_law.comparison import TRUTHS, LawComparison
from sdelens_plugins.analyzers.transition_law.law_averages import LawAverages


def figures(averages: LawAverages) -> tuple[Figure, ...]:
    """Effective branches by common class and position, noise by layer, and the comparison."""
    last = averages.comparisons[averages.views[-1]]
    every = (_branches(averages), _noise(averages), _comparison(last))
    return tuple(figure for figure in every if figure.panels)


def _branches(averages: LawAverages) -> Figure:
    titles = ("By the last token", "By position")
    groups = averages.held_out.common_groups(averages.count.sum(1))
    names = [name.removeprefix("positions ") for name in averages.held_out.names]
    panels = tuple(
        Panel(
            "",
            "effective branches",
            (bars(averages.words[1][group], [names[k] for k in group]),),
            title,
            share="branches",
        )
        for group, title in zip(groups, titles, strict=True)
        if group
    )
    documents = counted(averages.bootstrap.documents, "held-out document")
    return Figure(
        "branches",
        panels,
        "Effective branches of a prefix: the number of equally likely next tokens with the same "
        "entropy, by the class of the last token and by position, averaged over prefixes, "
        f"{intervals_over(documents, averages.words.low)}.",
    )


def _noise(averages: LawAverages) -> Figure:
    x = torch.tensor([layer_number(view) for view in averages.views]).double()
    last = averages.views[-1]
    values, _ = averages.spectra[last]
    shares = values.clamp(min=0).cumsum(0) / values.sum()
    line = Layer("line", {"x": torch.arange(1, len(values) + 1).double(), "y": shares})
    trace = Panel(
        "layer",
        "variance per dimension, training variances",
        line_with_band(x, averages.noise[:, 0], "", 4),
        "Trace of S* by layer",
    )
    spectrum = Panel("directions", "share of the trace", (line,), f"Spectrum of S* at {last}")
    return Figure(
        "noise",
        (trace, spectrum) if len(averages.views) > 1 else (spectrum,),
        "The variance that the draw of the next token adds to the next state, by layer, "
        f"{intervals_over('documents', averages.noise.low)}, and its share in the leading "
        "directions. Eigenvalues are of the average over prefixes; single prefixes have fewer "
        "directions.",
    )


def _comparison(comparison: LawComparison) -> Figure:
    """The baselines' excess cross-entropy, and the principal angles."""
    rank = torch.arange(1, comparison.rank + 1).double()
    lines = tuple(
        Layer(
            "line",
            {"x": rank, "y": comparison.angles(kind).double()},
            f"with {truth}",
            series,
            dashed=series > 0,
        )
        for series, (kind, truth) in enumerate(TRUTHS.items())
    )
    angles = Panel("principal angles, increasing", "degrees", lines, "Leading directions")
    caption = (
        f"The fit at {comparison.view} against the model's own law. Principal angles between the "
        f"leading {comparison.rank} directions of the fit's noise and those of the truth: 0° "
        "where a direction is shared. Diagonal noise has the coordinate axes as directions."
    )
    if comparison.excess is None:
        return Figure("fit", (angles,), caption)
    loss = bars(comparison.excess, comparison.baselines)
    documents = counted(comparison.documents, "held-out document")
    return Figure(
        "fit",
        (Panel("", f"{NATS} above the fit", (loss,)), angles),
        f"{caption} Cross-entropies of the model's law minus the fit's, for laws with the same "
        f"noise structure, {intervals_over(documents, comparison.excess.low)}.",
    )
