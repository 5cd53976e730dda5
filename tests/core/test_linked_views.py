"""What the interactive views take, and what they refuse."""

import json

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.report import Dose, DoseSeries, Estimate, Finding, StatePath, Strip
from sdelens.runs.findings import load_finding, save_finding

TEXT = ("a", "b")


def path(**changes):
    parts = {
        "states": torch.zeros(2, 2),
        "mean": torch.ones(2, 2),
        "covariance": torch.eye(2).expand(2, 2, 2),
    }
    return StatePath(TEXT, ("x", "y"), **parts | changes)


def test_each_token_needs_a_value():
    with pytest.raises(UsageError, match="expected 2 values, got 1"):
        Strip("s", TEXT, (1.0,))
    with pytest.raises(UsageError, match="expected 2 notes, got 1"):
        Strip("s", TEXT, (1.0, 2.0), notes=("one",))


@pytest.mark.parametrize("name", ["states", "mean", "covariance"])
def test_each_token_needs_a_state_in_the_plane(name):
    with pytest.raises((UsageError, TypeError)):  # by shape checks, or by our own
        path(**{name: torch.zeros(2, 3)})
    with pytest.raises((UsageError, TypeError)):
        path(**{name: torch.zeros(3, 2, 2) if name == "covariance" else torch.zeros(3, 2)})


def test_each_arm_of_a_dose_needs_an_effect_and_a_series_a_start():
    strip = Strip("arm", TEXT, (0.0, 1.0))
    with pytest.raises(UsageError, match="expected 1 effects, got 0"):
        Dose("one", (strip,), ())
    dose = Dose("one", (strip,), (Estimate("kl", 1.0),))
    with pytest.raises(UsageError, match="start must be one of 1 doses"):
        DoseSeries("drift", (dose,), 1)


def test_paths_and_doses_are_saved_and_loaded(tmp_path):
    strip = Strip("arm", TEXT, (0.0, 1.0), notes=("up", ""))
    series = DoseSeries("drift", (Dose("one", (strip,), (Estimate("kl", 1.0),)),))
    save_finding(
        Finding("L00", "h", "r", strips=(strip,), paths=(path(),), doses=(series,)), tmp_path
    )
    found = load_finding(tmp_path)
    assert found.strips == (strip,)
    assert found.doses == (series,)
    (loaded,) = found.paths
    assert loaded.axes == ("x", "y")
    torch.testing.assert_close(loaded.covariance, path().covariance)


def test_a_finding_of_before_there_were_paths_is_read(tmp_path):
    save_finding(Finding("L00", "h", "r", strips=(Strip("s", TEXT, (0.0, 1.0)),)), tmp_path)
    file = tmp_path / "finding.json"
    value = json.loads(file.read_text())
    for name in ("paths", "doses", "$sealed"):
        del value[name]
    del value["strips"][0]["notes"]
    file.write_text(json.dumps(value))
    found = load_finding(tmp_path)
    assert (found.paths, found.doses, found.strips[0].notes) == ((), (), ())
