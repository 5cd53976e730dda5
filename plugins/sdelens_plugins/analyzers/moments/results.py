"""Sentences, estimates and arrays of a comparison of moments."""

from torch import Tensor

from sdelens.dynamics.moments import ORDERS
from sdelens.estimation.ratio import FEWEST
from sdelens.report import Estimate
from sdelens.wording import counted
from sdelens_plugins.analyzers.common.word_list import word_list
from sdelens_plugins.analyzers.moments.comparison import MomentComparison

LEVEL = 0.05
"""The probability with which the moments of a correct fit fail at any order."""
READING = (
    "A replicate is a simulated copy of the test documents: it starts from the same states and "
    "is as long. If the fit is right, the documents are like one more replicate, and their "
    "moments lie inside the bands nine times out of ten. The squared deviation from the "
    "replicates' mean, in standard deviations of the replicates, is then 1 on average; its spread "
    "among replicates is given beside it. P-values hold for all orders together: a correct fit "
    "fails at any of them in 5% of cases. Replicates include an error of the fit's coefficients, "
    "as large as that of the moments of its training documents; a fit that uses its documents "
    "less well, as a network may, has a larger one and fails more often. With few documents the "
    "bands are wide, above all for the third and fourth moment, so moments that do not differ "
    "significantly need not be equal. All documents start at the same time, a time by which nine "
    "of ten have begun. Moments to order four of a few components do not determine a law, and do "
    "not show how one time depends on another. Closed recursions are exact for a linear law; the "
    "Gaussian closure is an approximation, and its distance from Monte Carlo shows how good it "
    "is."
)


def headline(result: MomentComparison) -> str:
    """Which moments of the data the fit does not reproduce."""
    components = counted(len(result.axes.components), "component")
    documents = counted(result.documents, "test document")
    if result.documents < FEWEST:
        return (
            f"Whether the fit reproduces the moments of the first {components} is not judged from "
            f"{documents}: at least {FEWEST} are needed."
        )
    pairs = zip(ORDERS, result.p_values.tolist(), strict=False)
    failed = [order for order, p in pairs if p <= LEVEL]
    verb = "does not reproduce" if failed else "reproduces"
    return (
        f"The fit {verb} the {word_list(failed) if failed else 'moments'} of the first "
        f"{components} of {documents}."
    )


def estimates(result: MomentComparison) -> tuple[Estimate, ...]:
    """Scores by order, the last time's mean and variance, and the closed form's error."""
    scores, null = result.scores
    p_values = result.p_values.tolist()
    rows = [
        Estimate(
            f"squared deviation of the {ORDERS[k]}",
            float(scores[k]),
            float(null[:, k].std()),
            f"(± among replicates, whose mean is 1; p = {p_values[k]:.2g} for all orders)",
        )
        for k in range(result.orders)
    ]
    return (*rows, *_last_time(result), *_closed_form(result))


def _last_time(result: MomentComparison) -> list[Estimate]:
    """Data minus fit at the last time."""
    rows = result.replicates[:, -1]
    gap, error = result.data[-1] - rows.mean(0), rows.std(0)
    return [
        Estimate(
            f"{ORDERS[k]} of {name} at t = {float(result.times[-1]):g}, data minus fit",
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
