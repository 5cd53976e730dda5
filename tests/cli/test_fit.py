"""`sdelens fit`: what it prints, what it leaves, and how it is repeated."""

import json
import shutil

import pytest
import torch

BASELINES = {"random_walk", "constant", "iid", "iid_position", "token", "linear"}
SAME = ("documents.safetensors", "fits/L00/sde.safetensors", "fits/L02/sde.safetensors")
ALL = (*SAME, "config.json", "fits/L00/metrics.json", "fits/L02/config.json")


def same_bytes(one, other, names):
    return [n for n in names if (one / n).read_bytes() != (other / n).read_bytes()] == []


def test_json_is_one_object_with_the_scores_of_each_layer(finished, printed):
    assert printed["run"] == str(finished)
    assert set(printed["layers"]) == {"0", "2"}
    for layer in printed["layers"].values():
        assert layer["held_out_nll_stderr"] > 0
        assert layer["increment_r2"] <= 1
        assert layer["seconds"] > 0
        assert layer["documents"] == 40
        assert 40 < layer["tokens"] <= 40 * 25
        assert set(layer["baselines"]) >= BASELINES
        for row in layer["baselines"].values():
            assert {"nll_per_dim", "nll_per_dim_state_dependent"} <= set(row)
        gain = layer["gain_over_iid_position"]
        row = layer["baselines"]["iid_position"]
        assert gain == pytest.approx(
            row["nll_per_dim_state_dependent"] - layer["held_out_nll_per_dim"], abs=1e-6
        )


def test_with_json_the_plan_goes_to_stderr(finished):
    said = (finished.parent / "stderr.txt").read_text()
    assert "plan" in said
    assert "3 blocks" in said


def test_the_manifest_says_how_the_run_came_about(finished, model):
    manifest = json.loads((finished / "manifest.json").read_text())
    assert manifest["state"] == "done"
    assert manifest["threads"] == 1
    assert manifest["settings"]["model"] == str(model)
    assert manifest["settings"]["source_settings"]["temperature"] == 1.0
    assert manifest["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert set(manifest["fingerprints"]) == {"model", "tokenizer", "texts"}
    assert {p["kind"] for p in manifest["plugins"]} >= {"model", "source", "probe"}
    assert all(len(p["sha256"]) == 64 for p in manifest["plugins"])
    assert set(manifest["timings"]) == {"documents", "capture", "L00", "L02"}


def test_no_path_of_the_folder_enters_its_results(finished):
    for name in ("config.json", "fits/L00/config.json", "fits/L00/metrics.json"):
        assert str(finished) not in (finished / name).read_text()


def test_a_finished_folder_prints_its_verdict_then_its_table_and_does_no_work(
    sdelens, job, finished
):
    before = {f: f.stat().st_mtime_ns for f in finished.rglob("*") if f.is_file()}
    again = sdelens(*job, "--out", finished)
    assert again.returncode == 0
    verdict, table = again.stderr.index("• "), again.stderr.index("Held-out scores, L00")
    assert verdict < table < again.stderr.index("neural (the fit)")
    assert "plan" not in again.stderr
    assert {f: f.stat().st_mtime_ns for f in finished.rglob("*") if f.is_file()} == before


def test_another_job_in_the_same_folder_is_refused_by_its_differences(sdelens, job, finished):
    other = sdelens(*job, "--out", finished, "--set", "probe.width=32")
    assert other.returncode == 2
    assert "probe.width: 16 there, 32 here" in other.stderr


def test_config_runs_the_same_job_again_to_the_same_bytes(sdelens, finished, tmp_path):
    config = finished / "config.json"
    again = sdelens("fit", "--config", config, "--out", tmp_path / "again", "-q")
    assert (again.returncode, again.stdout) == (0, f"{tmp_path / 'again'}\n")
    assert again.stderr == ""
    assert same_bytes(finished, tmp_path / "again", ALL)


def test_dry_run_stops_after_the_plan_and_writes_nothing(sdelens, job, tmp_path):
    out = tmp_path / "never"
    planned = sdelens(*job, "--out", out, "--dry-run", "--json", "--no-cache")
    assert planned.returncode == 0
    plan = json.loads(planned.stdout)["plan"]
    assert plan["layers"] == ["0", "2"]
    assert plan["tokens"] == 40 * 24
    assert plan["memory_bytes"] > 0
    assert plan["disk_bytes"] == 40 * 24 * 16 * 4 * 2
    assert plan["folder"] == str(out)
    assert not out.exists()


def test_dry_run_is_refused_where_the_fit_would_be(sdelens, job, finished):
    refused = sdelens(*job, "--out", finished, "--dry-run", "--seed", 5)
    assert refused.returncode == 2
    assert "contains another run (seed: 0 there, 5 here)" in refused.stderr
    assert sdelens(*job, "--out", finished, "--dry-run").returncode == 0


def test_overwrite_starts_anew_and_leaves_what_is_not_of_a_run(sdelens, job, finished, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    (out / "notes.txt").write_text("mine")
    (out / "analysis" / "old").mkdir(parents=True)
    done = sdelens(*job, "--out", out, "--overwrite", "-q", "--set", "probe.epochs=3")
    assert done.returncode == 0, done.stderr
    assert (out / "notes.txt").read_text() == "mine"
    assert not (out / "analysis").exists()
    assert json.loads((out / "config.json").read_text())["probe_settings"]["epochs"] == 3


def test_the_default_folder_is_named_after_the_job_and_equal_jobs_share_it(model):
    from sdelens.runs.job import Job
    from sdelens.runs.task import Task

    job = Job(model=str(model), layers="embed", probe="linear")
    spelt_out = Job.of(job.json() | {"probe_settings": {"noise": "diagonal"}, "device": "cpu"})
    name = Task.of(job).job.name
    assert name.startswith("small-Lembed-")
    assert Task.of(spelt_out).job.name == name
    assert Task.of(Job.of(job.json() | {"seed": 1})).job.name != name
