"""Sentences, estimates and arrays of a comparison of moments."""

from torch import Tensor

from sdelens.dynamics.moments import ORDERS
from sdelens.report import Estimate, counted
from sdelens_plugins.analyzers.common.word_list import word_list
from sdelens_plugins.analyzers.moments.comparison import MomentComparison

READING = (
    "A replicate is a simulated copy of the test documents: it starts from the same states and is "
    "as long. If the fit is right, the documents are like one more replicate, and their moments "
    "lie inside the bands nine times in ten. The squared deviation from the replicates' mean, in "
    "standard deviations of the replicates, is then 1 on average; its spread among replicates is "
    "given beside it. With few documents the bands are wide, above all for the third and fourth "
    "moment, so moments that do not differ significantly need not be equal. All documents start "
    "at the same time, a time by which nine of ten have begun. Moments to order four of a few "
    "components do not determine a law, and do not show how one time depends on another. Closed "
    "recursions are exact for a linear law; the Gaussian closure is an approximation, and its "
    "distance from Monte Carlo shows how good it is."
)


def headline(result: MomentComparison) -> str:
    """Which moments of the data the fit does not reproduce."""
    scores, _ = result.scores
    failed = [ORDERS[k] for k in range(result.orders) if scores[k] > result.limits[k]]
    verb = "does not reproduce" if failed else "reproduces"
    return (
        f"The fit {verb} the {word_list(failed) if failed else 'moments'} of the first "
        f"{counted(len(result.axes.components), 'component')} of "
        f"{counted(result.documents, 'test document')}."
    )


def estimates(result: MomentComparison) -> tuple[Estimate, ...]:
    """Scores by order, the last time's mean and variance, and the closed form's error."""
    scores, null = result.scores
    rows = [
        Estimate(
            f"squared deviation of the {ORDERS[k]}",
            float(scores[k]),
            float(null[:, k].std()),
            "(± among replicates, whose mean is 1; 95% are below "
            f"{float(null[:, k].quantile(0.95)):.2f})",
        )
        for k in range(result.orders)
    ]
    return (*rows, *_last_time(result), *_closed_form(result))


def _last_time(result: MomentComparison) -> list[Estimate]:
    """Data less fit at the last time."""
    rows = result.replicates[:, -1]
    gap, error = result.data[-1] - rows.mean(0), rows.std(0)
    return [
        Estimate(
            f"{ORDERS[k]} of {name} at t = {float(result.times[-1]):g}, data less fit",
            float(gap[c, k]),
            float(error[c, k]),
            f"(fit {float(rows[:, c, k].mean()):.3g})",
        )
        for c, name in enumerate(result.axes.names)
        for k in range(min(2, result.orders))
    ]


def _closed_form(result: MomentComparison) -> list[Estimate]:
    """How far the closed form is from Monte Carlo, in its errors and in relative size."""
    name = result.closed_name
    errors = zip(ORDERS, result.closed_errors.tolist(), strict=True)
    return [
        *(
            Estimate(
                f"{name} less Monte Carlo, {order}", error, unit="standard errors (1 expected)"
            )
            for order, error in errors
        ),
        Estimate(
            f"{name}, largest error of a variance",
            result.closed_variance_error,
            unit="of the Monte Carlo variance",
        ),
    ]


def arrays(result: MomentComparison) -> dict[str, Tensor]:
    """The plotted moments, ``[time, component, order]``, and their times."""
    pooled, error = result.monte_carlo
    rows = result.replicates
    return {
        "times": result.times,
        "data": result.data,
        "fit.low": rows.quantile(0.05, dim=0),
        "fit.high": rows.quantile(0.95, dim=0),
        "monte_carlo": pooled,
        "monte_carlo.stderr": error,
        "closed": result.closed,
    }
