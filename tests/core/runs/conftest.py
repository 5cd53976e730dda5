import pytest

from sdelens.runs.engine import execute
from sdelens.runs.job import Job
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
