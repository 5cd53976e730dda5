"""Checks are kept in a cache of their own."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SDELENS_CACHE", str(tmp_path / "cache"))
