"""The check of models that are supported, and where its result is kept."""

import json
import shutil

import pytest
from torch import nn

import sdelens
from sdelens.model_check.check import HOOKED, model_check
from sdelens.models import language_model
from sdelens.runs.comparison import comparison
from sdelens.runs.run import Run
from sdelens_plugins.models.bridge import BridgeModel
from tests.core.model_check.drawn import checked, llama
from tests.small import sentences, small_model

ROWS = (
    *("shape", "embedding", "causal", "padding and batching", "cache"),
    *("one call per block and pass", "right state", "complete"),
    *("context", "tokenizer", "duplicates"),
)


@pytest.mark.parametrize("name", ["tiny", "small", "shared"])
def test_models_that_are_supported_pass_every_row(name, tmp_path, shared_model):
    if name == "shared":
        model = shared_model
    else:
        made = name if name == "tiny" else str(small_model(tmp_path / "small"))
        model = BridgeModel.load(made, device="cpu")
    found = model_check(model)
    assert [row.name for row in found.rows] == [*ROWS]
    assert all(row.passed for row in found.rows), found.failed


def test_a_model_in_memory_passes_what_can_be_checked():
    rows = checked(llama())
    assert {n for n, row in rows.items() if not row.passed} == {"complete", "tokenizer"}, rows
    assert not any(row.passed is False for row in rows.values())
    module = nn.Sequential(nn.Embedding(50, 8), nn.Linear(8, 8), nn.Linear(8, 50))
    rows = checked(module, hook="1")
    assert rows["causal"].passed
    assert rows["one call per block and pass"].passed is None


def test_equal_weights_under_another_name_are_named_and_the_check_is_kept(tmp_path):
    one = BridgeModel.load(str(small_model(tmp_path / "one")), device="cpu")
    other = BridgeModel.load(str(small_model(tmp_path / "two")), device="cpu")
    assert model_check(one).rows[-1].words == "none known"
    assert "one, revision local" in model_check(other).rows[-1].words
    (file,) = (tmp_path / "cache" / "checks").iterdir()
    kept = json.loads(file.read_text())
    kept["rows"][0]["words"] = "read from the file"
    file.write_text(json.dumps(kept))
    assert model_check(one).rows[0].words == "read from the file"
    file.write_text("{")
    assert model_check(one).rows[0].words != "read from the file"


def test_a_model_under_hooks_of_its_user_is_not_checked():
    model = llama()
    model.model.layers[0].register_forward_hook(lambda *_: None)
    assert [row.words for row in model_check(language_model(model)).rows] == [HOOKED]


def test_a_fit_notes_the_check_in_manifest_and_report(tmp_path):
    model = BridgeModel.load(str(small_model(tmp_path / "small")), device="cpu")
    study = sdelens.attach(model).fit(sentences(12), layers=1, probe="linear")
    rows = study.run.manifest["check"]
    assert [row["name"] for row in rows] == [*ROWS]
    assert "check of the model" in study.report().provenance


def test_compare_says_that_two_names_have_equal_weights(tmp_path):
    runs = []
    for name in ("one", "two"):
        model = BridgeModel.load(str(small_model(tmp_path / name)), device="cpu")
        study = sdelens.attach(model).fit(sentences(12), layers=1, probe="linear")
        study.save(tmp_path / f"run-{name}", states=True)
        runs.append(Run(tmp_path / f"run-{name}"))
    (said,) = [each for each in comparison(runs, tmp_path).verdict if "equal weights" in each]
    assert said == (
        "one, revision local and two, revision local have equal weights: they are one model under "
        "two names."
    )
    again = Run(shutil.copytree(runs[0].folder, tmp_path / "again"))
    assert "equal weights" not in " ".join(comparison([runs[0], again], tmp_path).verdict)
