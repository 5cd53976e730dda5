"""What goes wrong is one clear sentence and an exit code."""

import errno
import json
import shutil
import subprocess
import time

import pytest

from sdelens.registry import installed
from tests.small import COMMAND

ALONE = {
    "broken plugin": (6, ["'broken'", "sdelens-broken", "no such library"], "--probe broken"),
    "diverging": (7, ["diverged"], "--set probe.rate=1e30 --documents 40 --length 20"),
}
"""In a process of its own. Name: exit code, what the sentence holds, arguments."""
TOGETHER = {
    "layer out of range": (2, ["3 blocks", "0 to 2", "got 7"], "--layer 7"),
    "missing column": (2, ["'story'", "text"], "--texts {texts} --column story"),
    "NaN weights": (7, ["finite"], "--model {folder}/nan --texts {texts}"),
    "overflow": (
        7,
        ["block1 of document", "e+", "at position 1"],
        "--model {folder}/large --texts {texts} --layer 1",
    ),
    "missing tensor": (2, ["1 missing: transformer.h.1"], "--model {folder}/incomplete"),
    "deep JSON": (2, ["line 2 is nested too deeply"], "--texts {folder}/deep.jsonl"),
    "empty texts": (2, ["all 12 texts are empty"], "--texts {folder}/null.jsonl"),
    "bytes as prompt": (
        2,
        ["--prompt must be Unicode", "character 3"],
        "generate . --steer drift=1 --prompt caf\udce9",
    ),
    "unknown setting": (3, ["'widht'", "'width'"], "--set probe.widht=3"),
    "wrong setting": (2, ["neural.width", "int"], "--set probe.width=wide"),
    "wrong density": (2, ["density"], "--density foo"),
    "not a file": (2, ["nowhere.txt"], "--texts {folder}/nowhere.txt"),
    "folder in use": (2, ["not a run"], "--out {folder} --overwrite"),
    "out is a file": (2, ["not a run"], "--out {texts}"),
    "NaN weights, sampled": (7, ["finite"], "--model {folder}/nan"),
    "short texts": (2, ["two tokens"], "--texts {folder}/short.txt"),
    "few documents": (2, ["10 documents", "got 3"], "--texts {folder}/three.txt"),
    "empty file": (2, ["empty.txt", "empty"], "--texts {folder}/empty.txt"),
    "no folder": (3, ["not a folder"], "--model ./nowhere"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model):
    """Files that are wrong, each in its own way."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty.txt").touch()
    (folder / "short.txt").write_text("\n".join("abcdefghijklmnopqrst"))
    (folder / "three.txt").write_text("\n".join(f"the cat sat on mat {i}" for i in range(3)))
    (folder / "deep.jsonl").write_text('"a"\n' + "[" * 5000 + "]" * 5000)
    (folder / "null.jsonl").write_text('{"text": null}\n' * 12)
    weights, block = load_file(model / "model.safetensors"), "transformer.h.1.mlp.c_proj.weight"
    for name, changed in {
        "nan": {k: torch.full_like(v, torch.nan) for k, v in weights.items()},
        "large": weights | {block: 1e30 * weights[block]},
        "incomplete": {k: v for k, v in weights.items() if k != block},
    }.items():
        shutil.copytree(model, folder / name)
        save_file(changed, folder / name / "model.safetensors", {"format": "pt"})
    plugin = folder / "path" / "sdelens_broken-0.1.dist-info"
    plugin.mkdir(parents=True)
    (plugin / "METADATA").write_text("Metadata-Version: 2.1\nName: sdelens-broken\nVersion: 0.1\n")
    (plugin / "entry_points.txt").write_text(
        "[sdelens.probes]\nbroken = sdelens_broken:Probe\n"
        "[sdelens.analyzers]\nbroken = sdelens_broken:Analyzer\n"
    )
    (folder / "path" / "sdelens_broken.py").write_text("raise ImportError('no such library')\n")
    return folder


def words(arguments, folder, model, texts):
    """A whole command line, quick where it gets as far as a fit."""
    own = arguments.format(folder=folder, texts=texts).split()
    if arguments.startswith("generate"):
        return own
    base = [] if "--model" in own else ["--model", str(model)]
    out = [] if "--out" in own else ["--out", str(folder / "runs" / arguments.replace("/", ""))]
    quick = ["--documents", "12", "--length", "12"]
    quick += ["--set", "probe.least_steps=2", "--set", "probe.epochs=2", "--set", "probe.width=8"]
    return ["fit", *base, *quick, *out, *own]


def require_one_sentence(name, code, stdout, stderr):
    expected, parts, _ = (ALONE | TOGETHER)[name]
    assert code == expected, stderr
    assert stdout == ""
    # whoever writes a plugin sees where it broke; nobody else sees any code
    assert ("Traceback" in stderr) == (code == 6)
    for part in parts:
        assert part in stderr.replace("\n", " ")


@pytest.mark.parametrize("name", ALONE)
def test_a_process_ends_with_one_sentence_and_its_code(process, folder, model, texts, name):
    outcome = process(
        *words(ALONE[name][2], folder, model, texts), PYTHONPATH=str(folder / "path")
    )
    require_one_sentence(name, outcome.returncode, outcome.stdout, outcome.stderr)


@pytest.mark.parametrize("name", TOGETHER)
def test_it_ends_with_one_sentence_and_its_code(sdelens, folder, model, texts, tmp_path, name):
    arguments = words(TOGETHER[name][2], folder, model, texts)
    answer = sdelens(*arguments, "-q", SDELENS_CACHE=str(tmp_path / "cache"))
    require_one_sentence(name, answer.returncode, answer.stdout, answer.stderr)


@pytest.fixture
def in_process(sdelens, tmp_path):
    """The command with a cache of its own: its code, what it printed, and what it said."""

    def run(*arguments):
        answer = sdelens(*arguments, SDELENS_CACHE=str(tmp_path / "cache"))
        return answer.returncode, answer.stdout, answer.stderr

    return run


def test_a_full_disk_is_told_before_the_states_are_captured(
    monkeypatch, in_process, model, tmp_path
):
    monkeypatch.setattr("sdelens.runs.disk.free_disk", lambda folder: 1000)
    arguments = words("", tmp_path, model, None)
    code, _, said = in_process(*arguments)
    assert code == 5
    assert "SDELENS_CACHE" in said.rpartition("Error: ")[2]


def test_a_disk_that_fills_up_while_writing_leaves_a_run_that_can_be_resumed(
    monkeypatch, in_process, model, tmp_path
):
    arguments = words("", tmp_path, model, None)
    with monkeypatch.context() as patch:

        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr("sdelens.store.save_file", full)
        code, _, said = in_process(*arguments)
    assert code == 5
    assert "no room is left on the disk" in said.replace("\n", " ")
    code, _, said = in_process(*arguments, "--resume")
    assert code == 0, said


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 GB")]
)
def test_memory_that_runs_out_in_a_fit_is_one_sentence(
    monkeypatch, in_process, model, tmp_path, error
):
    def fit_views(*_, **__):
        raise error

    monkeypatch.setattr("sdelens.runs.engine.fit_views", fit_views)
    code, _, said = in_process(*words("", tmp_path, model, None))
    assert code == 5
    assert "memory ran out" in said
    assert "Traceback" not in said


def test_overwrite_removes_nothing_from_a_folder_that_is_not_a_run(in_process, folder, model):
    (folder / "manifest.json").write_text('{"name": "an app of somebody"}')
    arguments = words("--out {folder} --overwrite", folder, model, None)
    assert in_process(*arguments)[0] == 2
    assert (folder / "short.txt").exists()
    assert (folder / "nan" / "model.safetensors").exists()


def test_overwrite_with_a_wrong_layer_leaves_the_old_run_alone(sdelens, job, finished):
    wrong = sdelens(*job, "--layer", "9", "--out", finished, "--overwrite")
    assert wrong.returncode == 2
    assert (finished / "fits/L00/DONE").exists()
    assert json.loads((finished / "manifest.json").read_text())["state"] == "done"


def test_without_a_network_it_says_so_within_seconds(process, tmp_path):
    start = time.monotonic()
    lost = process(
        *("fit", "--model", "some-org/no-such-model", "--out", tmp_path / "run"),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HUB_OFFLINE="0",
        HF_HOME=str(tmp_path / "hub"),
    )
    assert lost.returncode == 4, lost.stderr
    assert "not in the local cache" in lost.stderr
    assert "tiny" in lost.stderr
    assert "Traceback" not in lost.stderr
    # torch and transformers are imported first, on a machine that may be busy
    assert time.monotonic() - start < 60


def test_a_broken_analyzer_that_nobody_asked_for_is_left_out_and_named(
    sdelens, finished, folder, monkeypatch, tmp_path, only
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    monkeypatch.syspath_prepend(folder / "path")
    installed.cache_clear()
    only("broken", "losses")
    asked = sdelens("analyze", run, "--analyzer", "broken")
    assert asked.returncode == 6
    shown = asked.stderr.partition("Traceback")[2]
    assert 'sdelens_broken.py", line 1' in shown
    assert "importlib" not in shown
    assert "registry.py" not in shown
    both = sdelens("analyze", run, "broken", "losses", "--json")
    assert both.returncode == 6
    assert {each["analyzer"] for each in json.loads(both.stdout)["findings"]} == {"losses"}
    seen = sdelens("analyze", run, "broken", "losses")
    assert seen.returncode == 6
    assert "losses L00" in seen.stderr.partition("Error: ")[0]
    all_ = sdelens("analyze", run, "--json")
    assert all_.returncode == 0, all_.stderr
    answer = json.loads(all_.stdout)
    assert "no such library" in answer["left_out"]["broken"]
    assert {finding["analyzer"] for finding in answer["findings"]} == {"losses"}
    told = [line for line in all_.stderr.splitlines() if "broken" in line]
    assert len(told) == 1
    assert "Traceback" not in all_.stderr
    assert "broken" in json.loads((run / "analysis" / "left_out.json").read_text())
    monkeypatch.undo()
    installed.cache_clear()


def test_verbose_shows_where_an_error_came_from(sdelens):
    wrong = sdelens("fit", "--layer", "foo", "-v")
    assert wrong.returncode == 2
    assert "Traceback" in wrong.stderr


def test_a_closed_pipe_is_no_error(environment):
    started = subprocess.Popen(
        [*COMMAND, "plugins", "list"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.stdout.close()
    said = started.stderr.read()
    started.stderr.close()
    started.wait(timeout=60)
    assert said == ""


def test_rows_without_a_text_are_left_out_and_counted(sdelens, model, texts, tmp_path):
    rows = [json.dumps({"text": line}) for line in texts.read_text().splitlines()]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([*rows, '{"text": null}', '{"text": ""}', "null"]))
    arguments = words("--texts {texts} --probe linear", tmp_path, model, file)
    arguments = [a for a in arguments if not a.startswith("probe.")]
    arguments = [a for a in arguments if a != "--set"]
    done = sdelens(*arguments, "--documents", 40, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "3 empty texts were left out." in " ".join(done.stderr.split())
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["empty_texts"] == 3
    (metrics,) = (tmp_path / "run" / "fits").glob("*/metrics.json")
    scores = json.loads(metrics.read_text())
    assert scores["documents"] == 40
    assert "3 empty texts were left out." in scores["notes"]
