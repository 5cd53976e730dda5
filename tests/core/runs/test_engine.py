from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

import sdelens
from sdelens.errors import BrokenPlugin, OutOfMemory, UnknownName, UsageError
from sdelens.registry import forget, registered
from sdelens.runs.disk import require_disk
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from sdelens.runs.observer import NullObserver
from sdelens.runs.plan import free_disk
from sdelens.runs.run import Run
from sdelens.runs.score_table import score_table
from sdelens.runs.task import Task
from sdelens_plugins.probes.linear import LinearProbe
from tests.small import sentences, small_model


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = small_model(tmp_path_factory.mktemp("models") / "small")
    return Job(
        model=str(folder),
        layers="1",
        source_settings={"documents_wanted": 20, "length": 12},
        probe_settings={"epochs": 1, "least_steps": 2, "width": 8},
        cache=False,
    )


class Told(NullObserver):
    """Keeps what it was told, and fails in a stage if it is asked to."""

    def __init__(self, failing=""):
        self.failing, self.stages, self.plans = failing, [], []

    def stage(self, name, total, unit):
        if name == self.failing:
            raise KeyboardInterrupt
        self.stages.append(name)
        return super().stage(name, total, unit)

    def planned(self, plan):
        self.plans.append(plan)


def test_stages_come_in_order_after_the_plan(job, tmp_path):
    told = Told()
    run = execute(job, tmp_path / "run", observer=told)
    assert told.stages == ["model", "texts", "capture", "fit L01"]
    assert [plan.layers for plan in told.plans] == [("1",)]
    assert run.manifest["state"] == "done"


def test_a_finished_job_loads_no_model(job, tmp_path):
    execute(job, tmp_path / "run")
    told = Told()
    run = execute(replace(job, model=job.model), tmp_path / "run", observer=told)
    assert told.stages == []
    assert [view.label for view in run.views] == ["1"]


@dataclass(frozen=True)
class Lost(LinearProbe):
    """Fails in its fit, or where it is restored."""

    when: str = "fit"

    def fit(self, train, validation, *, seed, watch):
        if self.when == "fit":
            raise KeyError("nope")
        return super().fit(train, validation, seed=seed, watch=watch)

    def restore(self, config, tensors):
        raise KeyError("nope")


@dataclass(frozen=True)
class Missing:
    """Reads what is not there."""

    documents_wanted: int = 20

    def documents(self, model, *, seed):
        yield from Path("nowhere").read_text()


@pytest.mark.parametrize("changed", [{"probe": "lost"}, {"source": "missing"}])
def test_a_plugin_that_fails_is_blamed(job, tmp_path, changed):
    before = registered()
    sdelens.probe("lost")(Lost)
    sdelens.source("missing")(Missing)
    (kind, name), *_ = changed.items()
    try:
        with pytest.raises(BrokenPlugin, match=f"the {kind} {name} failed: ") as raised:
            execute(replace(job, **{f"{kind}_settings": {}} | changed), tmp_path / "run")
        assert isinstance(raised.value.__cause__, KeyError | FileNotFoundError)
        if kind == "probe":
            late = replace(job, probe="lost", probe_settings={"when": "restored"})
            run = execute(late, tmp_path / "late")
            with pytest.raises(BrokenPlugin, match="the probe lost failed: KeyError"):
                run.fitted(run.views[0])
    finally:
        forget(before)


def test_near_duplicate_texts_of_a_file_are_one_unit(job, tmp_path):
    file, texts = tmp_path / "lines.txt", sentences(20)
    file.write_text("\n".join([*texts, *texts[:5]]))
    linear = {"probe": "linear", "probe_settings": {}}
    own = replace(job, source="file", source_settings={"path": str(file)}, **linear)
    run = execute(own, tmp_path / "run")
    sides = [{int(run.documents.group[d]) for d in side} for side in vars(run.split).values()]
    assert len(run.documents) == 25
    assert sum(map(len, sides)) == len(set.union(*sides)) == 20
    (view,) = run.views
    table = score_table(run.metrics(view), view, "linear")
    assert "5 of 25 texts nearly repeat others and form one unit with them." in table.note
    # a linear kernel is not listed among its own baselines
    assert [row[0] for row in table.rows][-2:] == ["linear + token", "linear (the fit)"]
    assert "The baseline linear is the fit itself." in table.note


def test_equal_texts_sampled_from_the_model_remain_independent(job, tmp_path):
    sampled = {"documents_wanted": 40, "length": 4, "temperature": 0.35}
    linear = {"probe": "linear", "probe_settings": {}}
    run = execute(replace(job, source_settings=sampled, **linear), tmp_path / "run")
    texts = [document.tokens for document in run.documents]
    assert len(set(texts)) < len(texts) == len(run.documents.group.unique())
    (view,) = run.views
    scores = run.metrics(view)
    held = [texts[d] for d in run.split.test]
    assert scores["transitions"] == sum(len(tokens) - 2 for tokens in held)
    known = {tuple(texts[d][:end]) for d in run.split.train for end in range(5)}
    new = sum(t[:end] not in known for t in held for end in range(2, len(t)))
    assert scores["new_prefixes"]["transitions"] == new < scores["transitions"]


def test_what_was_finished_is_not_done_again(job, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        execute(job, tmp_path / "run", observer=Told(failing="capture"))
    written = (tmp_path / "run" / "documents.safetensors").stat().st_mtime_ns
    with pytest.raises(UsageError, match="--resume"):
        execute(job, tmp_path / "run")
    told = Told()
    run = execute(job, tmp_path / "run", resume=True, observer=told)
    assert told.stages == ["model", "capture", "fit L01"]
    assert run.documents_file.stat().st_mtime_ns == written
    assert {"documents", "capture", "L01"} == set(run.manifest["timings"])


def test_a_run_whose_model_changed_is_not_resumed(job, tmp_path):
    from safetensors.torch import load_file, save_file

    changing = small_model(tmp_path / "changing")
    job = replace(job, model=str(changing))
    with pytest.raises(KeyboardInterrupt):
        execute(job, tmp_path / "run", observer=Told(failing="fit L01"))
    weights = load_file(changing / "model.safetensors")
    weights["transformer.wte.weight"] *= 1.1
    save_file(weights, changing / "model.safetensors", {"format": "pt"})
    with pytest.raises(UsageError, match="was made with"):
        execute(job, tmp_path / "run", resume=True)


def test_the_seed_of_a_layer_does_not_depend_on_the_others(job, tmp_path):
    alone = execute(job, tmp_path / "alone")
    both = execute(replace(job, layers="0,1"), tmp_path / "both")
    file = "fits/L01/sde.safetensors"
    assert (alone.folder / file).read_bytes() == (both.folder / file).read_bytes()


def test_global_random_state_is_left_alone(job, tmp_path):
    state = torch.random.get_rng_state()
    execute(job, tmp_path / "run")
    assert torch.equal(torch.random.get_rng_state(), state)


def test_settings_are_checked_before_the_model_is_loaded(job, tmp_path):
    lost = replace(job, model="/nowhere")
    for changed, error, said in [
        ({"probe": "liner"}, UnknownName, "'linear'"),
        ({"probe_settings": {"widht": 8}}, UnknownName, "'width'"),
        ({"source_settings": {"documents_wanted": 3}}, UsageError, "at least 10 documents"),
        ({"source": "flie"}, UnknownName, "'file'"),
    ]:
        with pytest.raises(error, match=said):
            execute(replace(lost, **changed), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"layers": "foo"}, "--layer"),
        ({"basis": "pca"}, "basis"),
        ({"center": "x"}, "center"),
        ({"dtype": "int8"}, "dtype"),
        ({"device": "tpu"}, "device"),
        ({"skip_first": -1}, "skip-first"),
        ({"seed": "zero"}, "seed"),
    ],
)
def test_a_job_that_cannot_be_is_refused(setting, said):
    with pytest.raises(UsageError, match=said):
        Job.of(setting)


def test_where_a_job_runs_does_not_enter_its_hash():
    job = Job()
    assert replace(job, device="cpu", cache=False, offline=True).hash8 == job.hash8
    assert replace(job, dtype="float16").hash8 != job.hash8
    assert "dtype: 'float16' there" in job.differences(replace(job, dtype="float16"))


def test_a_jobs_settings_are_spelt_out():
    settings = Task.of(Job()).job
    assert settings.probe_settings["noise"] is None
    assert settings.source_settings["temperature"] == 1.0
    assert Task.of(settings).job == settings


def test_states_that_cannot_fit_on_the_disk_are_not_captured(job, tmp_path, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        execute(job, tmp_path / "run", observer=Told(failing="capture"))
    monkeypatch.setattr("sdelens.runs.disk.free_disk", lambda folder: 10)
    with pytest.raises(OutOfMemory, match="SDELENS_CACHE"):
        require_disk(Run(tmp_path / "run"))


def test_free_disk_looks_where_a_folder_will_be(tmp_path):
    assert free_disk(tmp_path / "not" / "yet") == pytest.approx(free_disk(tmp_path), rel=0.05)


def test_offline_is_no_part_of_what_a_job_is():
    online = Job(source="dataset", source_settings={"name": "x", "offline": False})
    offline = Job(source="dataset", source_settings={"name": "x", "offline": True}, offline=True)
    assert online.hash8 == offline.hash8
