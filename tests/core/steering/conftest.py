"""A small model, a fit to its states, and a writer that steers it."""

import pytest

from sdelens.models import language_model
from tests.core.steering.written import SITE, Table
from tests.spoken import small_bridge, spoken_study


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("m"))


@pytest.fixture(scope="module")
def study(model):
    return spoken_study(model, SITE)


@pytest.fixture(scope="module")
def fitted(study):
    return study.single[1].fitted


@pytest.fixture(scope="module")
def table():
    module = Table()
    return module, language_model(module, hook="inner")
