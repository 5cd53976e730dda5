"""Laws whose truth is known."""

import pytest

from tests.plugins.analyzers.goodness_of_fit.known import (
    QUICK,
    around,
    autoregression,
    kernel,
)


@pytest.fixture(scope="module")
def sides():
    """Training, validation and test paths whose law is known."""
    return tuple(
        autoregression(n, seed=n, first=first) for n, first in ((120, 0), (30, 120), (80, 150))
    )


@pytest.fixture(scope="module")
def true(sides):
    """The finding for the true law."""
    return QUICK.analyze(around(kernel(), sides), seed=0)
