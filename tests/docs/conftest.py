"""The extensions of the documentation site, as modules."""

import importlib.util

import pytest


def extension(root, name):
    spec = importlib.util.spec_from_file_location(name, root / "docs" / "_ext" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture(scope="session")
def catalogue(root):
    return extension(root, "catalogue")


@pytest.fixture(scope="session")
def offline(root):
    return extension(root, "offline")
