"""Write docs/validation.md: our probes on systems whose truth is known. `make validate`.

`tools/validate.py linear constant` takes these probes instead of all that the page is about.
"""

import sys
from pathlib import Path

from sdelens.testing import ornstein_uhlenbeck
from sdelens.testing.validation import Row, validate
from sdelens_cli.validate import number, table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "validation.md"
CASES = (
    *((2, 20_000, 400), (2, 100_000, 400), (16, 20_000, 20)),
    *((16, 100_000, 20), (64, 20_000, 20), (64, 100_000, 20)),
)
"""Dimension, transitions, seeds."""
PROBES = ("linear", "neural", "constant")
HEAD = """# Validation

Fits to processes whose truth is known (`sdelens.testing`). Written by `make validate`; `sdelens
validate --probe NAME` does the same for any probe, and `--plugin FILE` for one of your own.

"""
BOUND = """## Linear systems, against the efficient bound

Mean squared errors of the `linear` probe over those that no unbiased estimator from the same
discrete observations can beat (the Cramér-Rao bound, `sdelens.testing.efficient`), and held-out
nats per transition beyond the true law over p/2N, the price of p parameters. The error of a figure
is its standard error over seeds. At 64 dimensions the bound itself is asymptotic: an efficient
estimator from N = 20,000 transitions is above it.

"""
INTERVALS = """## Intervals of coefficients

The share of nominal 90% intervals, from an ensemble of five, that hold the true drift and
covariance at one held-out state of each seed.

"""
SYSTEMS = """## All reference systems

20,000 transitions, three seeds. *drift*, *noise* and *excess* are over the efficient bound, as
above. *nats*: held-out excess over the true law, per transition; *drift R2*: the share of the true
drift's variance that is recovered; *noise error*: relative root mean squared error of the
covariance; *inside 90%*: the share of predictive intervals that hold the next state. A gap means
that there is no truth to compare with, or that the probe gives no such thing. `neural` stands
with its defaults, and these include diagonal noise: where the true noise is correlated, as of the
linear systems in two dimensions or more, its noise and excess are what that costs (`noise=full` or
`correlated:k` carries correlations).

"""


def main() -> None:
    """The whole page."""
    parts = [HEAD, BOUND, bounds(), INTERVALS, coverage(), SYSTEMS]
    for name in sys.argv[1:] or PROBES:
        rows = validate(name)
        parts.append(f"### {name}\n\n{markdown(*table(rows))}\n")
        parts += [f"Left out: {row.system}: {row.failure}.\n\n" for row in rows if row.failure]
    PAGE.write_text("".join(parts).rstrip() + "\n", encoding="utf-8")


def bounds() -> str:
    """The table of ratios, without a penalty and with the one that validation chooses."""
    lines = []
    for dim, transitions, seeds in CASES:
        for label, settings in (("0", {"ridge": 0.0}), ("chosen", {})):
            one = {"": ornstein_uhlenbeck(dim)}
            [row] = validate(
                "linear", one, seeds=range(seeds), transitions=transitions, **settings
            )
            lines.append([str(dim), f"{transitions:,}", str(seeds), label, *ratios(row)])
            print(*lines[-1], file=sys.stderr, flush=True)
    heads = ["d", "N", "seeds", "ridge", "drift", "covariance", "excess", "inside 90%"]
    return markdown(heads, lines) + "\n"


def coverage() -> str:
    """The table of intervals."""
    lines = []
    for dim, transitions, seeds in ((2, 2_000, 200), (16, 20_000, 20)):
        [row] = validate(
            "linear",
            {"": ornstein_uhlenbeck(dim)},
            seeds=range(seeds),
            transitions=transitions,
            ensemble=5,
            ridge=0.0,
        )
        count = seeds * (dim + dim * (dim + 1) // 2)
        share = number(row.intervals, 3, True)
        lines.append([str(dim), f"{transitions:,}", f"{count:,}", share])
    return markdown(["d", "N", "intervals", "inside 90%"], lines) + "\n"


def ratios(row: Row) -> list[str]:
    """Of one row."""
    three = (row.drift_ratio, row.covariance_ratio, row.excess_ratio)
    return [*(number(value, 2, True) for value in three), number(row.predicted, 4, True)]


def markdown(heads: list[str], lines: list[list[str]]) -> str:
    """A table."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "".join(
        f"| {' | '.join(cell.replace(chr(10), ' ') for cell in row)} |\n" for row in rows
    )


if __name__ == "__main__":
    main()
