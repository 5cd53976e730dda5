"""Headless Chromium by Playwright, for screenshots and tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
"""Path of the Chromium executable; None if it is not installed."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the installed Chromium, and close it on exit."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
