"""`sdelens cache`, and jobs that run at the same time."""

import json
import subprocess

from tests.small import COMMAND


def test_states_are_listed_measured_and_removed(sdelens, job, tmp_path):
    variables = {"SDELENS_CACHE": str(tmp_path)}

    def cache(*arguments, **more):
        done = sdelens("cache", *arguments, **variables, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(cache("list", "--json")) == {"entries": []}
    assert "0.0 B (no limit: set SDELENS_CACHE_LIMIT)" in cache("size")
    fitted = sdelens(*job, "--out", tmp_path / "run", "-q", **variables)
    assert fitted.returncode == 0, fitted.stderr
    (entry,) = json.loads(cache("list", "--json"))["entries"]
    assert entry["states"].endswith("small block0 block2")
    assert not entry["in_use"]
    folder = tmp_path / "states" / entry["key"]
    assert entry["bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    assert entry["key"] in cache("list")
    measured = json.loads(cache("size", "--json", SDELENS_CACHE_LIMIT="2 GB"))
    assert measured == {
        "folder": str(tmp_path / "states"),
        "bytes": entry["bytes"],
        "limit": 2 * 10**9,
    }
    orphan = tmp_path / "states" / f".{entry['key']}-{'0' * 32}.tmp"
    orphan.mkdir()
    (orphan / "shard-00000.safetensors").write_text("half")
    assert json.loads(cache("prune", "--json"))["bytes"] == entry["bytes"], "there is no limit"
    assert not orphan.exists()
    assert folder.exists()
    assert "0.0 B left" in cache("prune", "--limit", "0")
    assert not folder.exists()


def test_states_that_are_recorded_again_are_one_line_even_when_quiet(sdelens, job, tmp_path):
    variables = {"SDELENS_CACHE": str(tmp_path), "COLUMNS": "40"}
    quiet = (*job, "--out", tmp_path / "run", "--overwrite", "-q")
    first = sdelens(*quiet, **variables)
    assert (first.returncode, first.stderr) == (0, "")
    (shard,) = tmp_path.glob("states/*/shard-*.safetensors")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    for words in (quiet, ("analyze", tmp_path / "run", "trajectory", "-q")):
        again = sdelens(*words, **variables)
        assert again.returncode == 0, again.stderr
        (line,) = again.stderr.splitlines()
        assert line.startswith("The cached states of small are recorded again: ")
        assert str(shard) in line
        shard.write_bytes(content[:9])


def test_an_invalid_limit_is_a_usage_error_before_a_model_is_loaded(sdelens, job, tmp_path):
    for arguments in (job, ("cache", "size"), ("cache", "prune")):
        done = sdelens(*arguments, SDELENS_CACHE_LIMIT="plenty", SDELENS_CACHE=str(tmp_path))
        assert done.returncode == 2
        assert "SDELENS_CACHE_LIMIT must be a size such as 20GB or 500MiB" in done.stderr
    assert "--limit must be a size" in sdelens("cache", "prune", "--limit", "-1").stderr


def test_of_two_jobs_started_together_one_is_told_who_writes(job, environment, tmp_path):
    folder = tmp_path / "run"
    jobs = [
        subprocess.Popen(
            [*COMMAND, *map(str, job), "--seed", str(seed), "--out", str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    said = [one.communicate(timeout=300)[1] for one in jobs]
    codes = [one.returncode for one in jobs]
    assert sorted(codes) == [0, 2], said
    winner, loser = codes.index(0), codes.index(2)
    told = said[loser].rpartition("Error: ")[2]
    writer = f"{folder} is being written by process {jobs[winner].pid} on "
    assert told.startswith(writer) or "contains another run (seed: " in told
    assert json.loads((folder / "config.json").read_text())["seed"] == winner + 1
    assert json.loads((folder / "manifest.json").read_text())["state"] == "done"
    assert not list(folder.rglob(".*"))
