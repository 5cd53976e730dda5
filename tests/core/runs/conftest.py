import pytest

from sdelens.registering import analyzer as register
from sdelens.registry import forget, registered
from sdelens.runs import run_analyzers as module
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from tests.core.runs.small_analyzers import Asking, Counting, Failing
from tests.small import small_model


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    job = Job(
        model=str(small_model(tmp_path_factory.mktemp("models") / "small")),
        layers="0,1",
        source_settings={"documents_wanted": 20, "length": 12},
        probe_settings={"epochs": 1, "least_steps": 2, "width": 8},
        cache=False,
    )
    return execute(job, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def installed(monkeypatch):
    """These analyzers and no others."""
    kinds = {"counting": Counting, "failing": Failing, "asking": Asking}

    before = registered()
    for name, kind in kinds.items():
        register(name)(kind)
    monkeypatch.setattr(module, "plugins", lambda _: dict.fromkeys(kinds))
    yield
    forget(before)
