"""What an analyzer returns is written only if it can be read again, and kept if equal."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from sdelens.errors import BrokenPlugin, UsageError
from sdelens.registering import analyzer as register
from sdelens.registry import forget, registered
from sdelens.runs import run_analyzers
from sdelens.runs.run_analyzers import analyze
from sdelens.runs.saved_findings import findings_of
from sdelens.store import write_json
from tests.checks import paused
from tests.core.runs.small_analyzers import Counting


@pytest.fixture
def installed():
    before = registered()
    register("counting")(Counting)
    yield
    forget(before)


ODD = {
    "a number for text": ({"reading": 5}, "reading must be a valid string, got 5"),
    "a number among sentences": ({"details": (5,)}, "details must be|details.0. must be"),
    "a number for an estimate": ({"estimates": (0.5,)}, "estimates"),
    "the type of another class": ({"arrays": {"$type": torch.zeros(1)}}, "must be a type out of"),
    "what JSON lacks": ({"process_class": {1, 2}}, "TypeError: .* set is not JSON serializable"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_finding_that_could_not_be_read_again_is_the_fault_of_its_analyzer(run, installed, name):
    items, said = ODD[name]

    @dataclass(frozen=True)
    class Odd(Counting):
        def analyze(self, study, *, seed):
            found = super().analyze(study, seed=seed)
            for each, value in items.items():  # types are checked in tests
                object.__setattr__(found, each, value)
            return found

    register("odd")(Odd)
    with paused(), pytest.raises(BrokenPlugin, match=f"the analyzer odd.*{said}"):
        analyze(run, ["odd"])
    assert not (run.folder / "analysis/odd/all").exists()
    shutil.rmtree(run.folder / "analysis/odd")


@dataclass(frozen=True)
class Nested(Counting):
    """Has a setting that is any JSON value."""

    weights: Mapping[str, Any] = field(default_factory=dict)


def test_settings_may_be_any_json_value_and_what_json_lacks_is_named(run, installed):
    register("mine")(Nested)
    weights = {"layers": [1, 2], "named": {"a": None}}
    analyze(run, ["mine"], settings={"mine": {"weights": weights}})
    (found,) = (one for one in findings_of(run) if one.analyzer == "mine")
    assert found.settings == {"weights": {"layers": (1, 2), "named": {"a": None}}}
    with pytest.raises(BrokenPlugin, match=r"the analyzer mine .* not JSON serializable"):
        analyze(run, ["mine"], settings={"mine": {"weights": {"set": {1, 2}}}})
    shutil.rmtree(run.folder / "analysis/mine")


def test_findings_of_equal_inputs_are_kept_and_others_made_again(run, installed):
    (first,), _ = analyze(run, ["counting"], resume=True)
    file = run_analyzers.finding_folder(run, first) / "finding.json"
    made = file.stat().st_mtime_ns
    analyze(run, ["counting"], resume=True)
    assert file.stat().st_mtime_ns == made
    value = json.loads(file.read_text())
    assert "DONE" not in {each.name for each in file.parent.iterdir()}
    write_json(file, {k: v for k, v in value.items() if k not in ("$inputs", "$sealed")})
    analyze(run, ["counting"], resume=True)
    assert json.loads(file.read_text()) == value


def test_an_empty_prompt_is_refused(run, installed):
    with pytest.raises(UsageError, match="prompt is empty: give a text"):
        analyze(run, ["counting"], prompt=" ")
