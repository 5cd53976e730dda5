"""A small model with what it wrote, for analyzers that need words."""

import pytest
import torch

from sdelens.protocols import Site
from sdelens.seeds import generator
from tests.plugins.analyzers.studied import autoregression
from tests.spoken import small_bridge, spoken_study


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A bridge of three blocks."""
    return small_bridge(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def tokens(model):
    """Three texts of nine tokens (batch, position)."""
    return torch.randint(1, model.card.vocabulary, (3, 9), generator=generator(0))


@pytest.fixture(scope="module")
def study(model):
    """A linear fit to the output of its second block."""
    return spoken_study(model, Site("block", 1))


@pytest.fixture(scope="module")
def known():
    """Training, validation and test paths whose law is known."""
    return tuple(autoregression(n, 30, seed=n) for n in (100, 20, 64))
