"""Tokens coloured by a value."""

import pytest

from sdelens.report import Strip
from sdelens_plugins.reporters.html.token_strips import ColouredStrip


@pytest.mark.parametrize(
    ("values", "signed", "ends"),
    [
        ((-1.0, 0.5), True, (-1.0, 1.0)),
        ((0.25, 0.5), False, (0.25, 0.5)),
        ((float("nan"),), False, (0.0, 0.0)),
        ((), False, (0.0, 0.0)),
    ],
)
def test_a_strips_scale_is_two_sided_where_its_values_are(values, signed, ends):
    coloured = ColouredStrip(Strip("s", ("t",) * len(values), values))
    assert coloured.signed is signed
    assert coloured.ends == ends
    assert all(0 <= float(cell.strength) <= 1 for cell in coloured.cells)


def test_strips_of_one_scale_have_colours_that_compare():
    low, high = (
        [
            cell.strength
            for cell in ColouredStrip(Strip("s", ("t",), (value,), "", (0.0, 4.0))).cells
        ]
        for value in (1.0, 4.0)
    )
    assert low == ["0.250"]
    assert high == ["1.000"]
