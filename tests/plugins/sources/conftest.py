"""Small models with and without a chat template."""

import pytest

from sdelens.models import language_model
from tests.small import TEMPLATE, small_model


@pytest.fixture(scope="session")
def chat(tmp_path_factory):
    """A small model with a chat template."""
    folder = small_model(tmp_path_factory.mktemp("chat") / "m", TEMPLATE, positions=96)
    return language_model(folder, device="cpu")


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """The same model without a template."""
    folder = small_model(tmp_path_factory.mktemp("base") / "m", positions=96)
    return language_model(folder, device="cpu")
