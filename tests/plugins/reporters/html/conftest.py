"""One browser for each module of tests of pages."""

import pytest

from tests.plugins.reporters.html.browsing import browser


@pytest.fixture(scope="module")
def program():
    with browser.chromium() as opened:
        yield opened
