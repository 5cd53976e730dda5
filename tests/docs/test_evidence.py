"""The page docs/evidence.md says what docs/evidence.json holds, and that what the runs found."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def evidence():
    spec = importlib.util.spec_from_file_location("evidence", ROOT / "tools" / "evidence.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_the_page_is_drawn_from_the_runs(evidence):
    runs = json.loads(evidence.DATA.read_text())
    assert evidence.PAGE.read_text() == evidence.rendered(runs), "run: tools/evidence.py write"


def test_no_number_stands_in_the_template_but_names_of_settings(evidence):
    text = evidence.TEMPLATE.read_text()
    assert "±" in text
    assert "0." not in text.replace("0.5", "")


def test_every_model_was_asked_everything(evidence):
    runs = json.loads(evidence.DATA.read_text())
    assert {run["model"] for run in runs} == set(evidence.RUNS)
    for run in runs:
        assert run["metrics"]["held_out_documents"] > 20
        for name in evidence.NULLS:
            assert (
                f"linear over i.i.d. per position, {name}" in run["goodness_of_fit"]["estimates"]
            )
