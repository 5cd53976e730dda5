import json
import shutil
from pathlib import Path

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.paths.documents import Document, Documents
from sdelens.paths.split import Split
from sdelens.protocols import Epoch, Site
from sdelens.runs.engine import execute
from sdelens.runs.folder import clear, holds_run, require_free, require_run
from sdelens.runs.history import history_of, history_text
from sdelens.runs.job import Job
from sdelens.runs.run import Run
from sdelens.states.recording import View
from tests.small import small_model

TOP = View(Site("block", 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def job(folder):
    return Job(
        model=str(folder),
        layers="0,-1",
        source_settings={"documents_wanted": 30, "length": 16},
        probe_settings={"epochs": 1, "least_steps": 4, "width": 8, "noise": "correlated:2"},
        cache=False,
    )


@pytest.fixture(scope="module")
def done(job, tmp_path_factory):
    return execute(job, tmp_path_factory.mktemp("runs") / "run")


def test_a_loaded_run_has_the_law_that_was_fitted(job, done, tmp_path):
    again = execute(job, tmp_path / "again")
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    one = sdelens.load(done.folder).views[TOP].fitted
    other = again.fitted(TOP)
    assert torch.equal(one.drift(3.0, x), other.drift(3.0, x))
    assert torch.equal(one.transition(3.0, x).covariance, other.transition(3.0, x).covariance)
    assert one.record.scores == other.record.scores
    assert one.record.history == other.record.history
    assert one.origin.model.name == "small"


def test_a_study_holds_the_documents_of_each_side(done):
    study = sdelens.load(done.folder)
    assert list(study.views) == [View(Site("block", 0)), TOP]
    viewed = study.views[TOP]
    sides = [
        {d for block in side for d in block.document.tolist()}
        for side in (viewed.train, viewed.validation, viewed.test)
    ]
    assert [len(side) for side in sides] == [24, 3, 3]
    assert set.union(*sides) == set(range(30))
    assert study.only(TOP).single == (TOP, viewed)


def test_annotations_are_saved_with_the_documents(tmp_path):
    first = Document((1, 2), annotations={"coherence": 0.5})
    listed = Documents.of([first, Document((1,)), Document((1, 3, 4))])
    Run(tmp_path).write_documents(listed, Split((0,), (1,), (2,)))
    again = Run(tmp_path)
    assert [d.annotations for d in again.documents] == [{"coherence": 0.5}, {}, {}]
    assert again.split == Split((0,), (1,), (2,))


def test_scores_can_be_made_again_from_what_was_saved(done):
    viewed = sdelens.load(done.folder).views[TOP]
    nats, count = 0.0, 0
    for block in viewed.test:
        found = viewed.fitted.log_prob(block)
        nats -= float(found.nansum())
        count += int((~found.isnan()).sum())
    scores = viewed.fitted.record.scores
    assert count == scores["transitions"]
    assert nats / count / 16 == pytest.approx(scores["held_out_nll_raw_per_dim"], abs=1e-4)


def test_another_models_weights_are_refused_by_name(done, tmp_path, folder):
    from safetensors.torch import load_file, save_file

    other = small_model(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    weights["transformer.h.0.mlp.c_fc.weight"][0, 0] += 1
    save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UsageError,
        match=r"model small, but this other differs \(fingerprint \w{12} there, \w{12} here",
    ):
        sdelens.load(done.folder, str(other))
    assert sdelens.load(done.folder, str(folder)).model.card.name == "small"


@pytest.mark.skipif(torch.mps.is_available(), reason="the device that is not here is MPS")
@pytest.mark.parametrize("kind", [str, Path])
def test_a_model_given_as_a_folder_is_loaded_as_the_run_says(done, folder, tmp_path, kind):
    shutil.copytree(done.folder, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["settings"]["device"] = "mps"
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="no mps device"):
        _ = sdelens.load(tmp_path / "run", model=kind(folder)).run.model


def test_a_folder_without_a_run_is_not_loaded(tmp_path):
    with pytest.raises(UsageError, match="not a run"):
        sdelens.load(tmp_path)
    (tmp_path / "manifest.json").write_text('{"short_name": "an app"}')
    with pytest.raises(UsageError, match="not a run"):
        require_run(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    assert not holds_run(tmp_path)


def test_a_run_of_a_newer_version_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text('{"schema": 99, "settings": {}, "state": "done"}')
    with pytest.raises(UsageError, match="newer"):
        _ = Run(tmp_path).manifest


def test_clearing_removes_what_a_run_writes_and_nothing_else(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    run = tmp_path / "run"
    (run / "fits" / "L00").mkdir(parents=True)
    (run / "fits" / "L00" / "DONE").touch()
    for name in ("manifest.json", "config.json", "notes.txt"):
        (run / name).touch()
    (run / "analysis").symlink_to(elsewhere)
    clear(run)
    assert {file.name for file in run.iterdir()} == {"manifest.json", "notes.txt"}
    assert (elsewhere / "precious").exists()


def test_only_an_empty_folder_is_free(tmp_path):
    require_free(tmp_path / "new")
    (tmp_path / ".manifest.json.123.tmp").touch()  # of a process that was killed
    require_free(tmp_path)
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not a run"):
        require_free(tmp_path)


def test_history_comes_back_as_it_was_written(tmp_path):
    history = (Epoch(1, 2, {"drift": 1.5}, {"drift": 2.0}), Epoch(2, 2, {"drift": 1.0}, {}))
    (tmp_path / "train.jsonl").write_text(history_text(history))
    assert history_of(tmp_path / "train.jsonl") == history


def test_files_hold_no_pickle_and_no_timing(done):
    names = {f.relative_to(done.folder).as_posix() for f in done.folder.rglob("*") if f.is_file()}
    assert names == {
        "manifest.json",
        "config.json",
        "documents.safetensors",
        *(
            f"fits/{view}/{name}"
            for view in ("L00", "L02")
            for name in ("sde.safetensors", "config.json", "metrics.json", "train.jsonl", "DONE")
        ),
    }
    metrics = json.loads((done.folder / "fits/L02/metrics.json").read_text())
    assert not any("second" in name for name in metrics)
