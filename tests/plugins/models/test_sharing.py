"""Studies on a hub: uploaded and opened again through a server on the loopback address."""

import json
import os
import platform
import subprocess
import sys

import pytest

from tests.hub import Repository, serving
from tests.small import sentences, small_model

SCRIPT = """
import json, shutil, sys, warnings
warnings.simplefilter("ignore")
from pathlib import Path
import torch, sdelens
from sdelens.errors import SdelensError
from transformers import AutoModelForCausalLM
step, folder, run = sys.argv[1:4]
NAME = "me/small-L1-sde"
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

def of(study, *, asked=True):
    view, viewed = study.single
    told = {"name": study.name, "drift": float(viewed.fitted.drift(1.0, torch.ones(16)).sum())}
    told["row"] = viewed.fitted.record.scores["fit"]["nll_per_dim"]
    if asked:
        told["headline"] = study.analyze("trajectory", prompt="the cat sat").headline
    return told

def refused(work):
    try:
        work()
    except SdelensError as error:
        return {"code": error.exit_code, "error": str(error)}

if step == "share":
    study = sdelens.attach(model).fit(json.loads(sys.argv[4]), layers=1, probe="linear", seed=0)
    study.save(run)
    told = {"pushed": of(study, asked=False), "url": study.push_to_hub(NAME)}
    study.push_to_hub(NAME)
    told["pushed"] = of(study)
    told["loaded"] = of(sdelens.load(NAME, model=model))
    told["without"] = of(sdelens.load(NAME), asked=False)
    told["absent"] = refused(lambda: sdelens.load("me/none"))
    mine = Path(run).parent / "mine"
    shutil.copytree(run, mine)
    place = mine / "manifest.json"
    manifest = json.loads(place.read_text())
    manifest["argv"] = ["fit", "--model", folder, "--texts", run + "/secret/notes.txt"]
    manifest["settings"] |= {
        "model": folder, "source": "file", "source_settings": {"path": run + "/secret/notes.txt"}
    }
    place.write_text(json.dumps(manifest))
    (mine / "config.json").write_text(json.dumps(manifest["settings"]))
    (mine / "report.html").write_text(run)
    sdelens.load(mine, model=model).push_to_hub("me/places")
else:
    told = {
        "tampered": refused(lambda: sdelens.load(NAME)),
        "denied": refused(lambda: sdelens.load(run).push_to_hub("me/other")),
    }
print(json.dumps(told))
"""
TEXTS = json.dumps(sentences(20))


def python(step, folder, run, home, endpoint, token="a token"):
    # a fresh cache, no token of whoever runs the tests, and no HF_HUB_OFFLINE
    hidden = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE")
    rest = {name: value for name, value in os.environ.items() if name not in hidden}
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "OMP_NUM_THREADS": "1"}
    settings |= {"HF_TOKEN": token} if token else {}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, step, str(folder), str(run), TEXTS],
        env=rest | settings,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    with serving({}, tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture(scope="module")
def shared_study(model, hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pushed")
    told = python("share", model, folder / "run", folder / "home", hub.endpoint)
    return told | {"folder": folder / "run"}


def test_what_is_uploaded_is_what_is_saved_and_a_card(shared_study, hub):
    repository = hub.repositories["me/small-L1-sde"]
    saved = {
        file.relative_to(shared_study["folder"]).as_posix(): file.read_bytes()
        for file in shared_study["folder"].rglob("*")
        if file.is_file()
    }
    assert repository.private
    assert {*repository.files} - {*saved} == {"README.md"}
    for name in {*saved} - {"manifest.json"}:  # which loses the version of the system
        assert repository.files[name] == saved[name], name
    kinds = {name.rpartition(".")[2] for name in saved}
    assert kinds == {"json", "jsonl", "safetensors", "fits/L01/DONE"}, "nothing that is run"


def test_the_card_has_the_scores_and_how_to_open_it(shared_study, hub):
    card = hub.repositories["me/small-L1-sde"].files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: sdelens\n")
    assert "base_model" not in card, "a folder's name need not be one on the hub"
    assert 'sdelens.load("me/small-L1-sde", model=model)' in card
    assert "| linear (the fit) | " in card
    assert f"{shared_study['pushed']['row']:.3f}" in card
    assert "token ids of 20 texts" in card
    assert str(shared_study["folder"].parent) not in card


def test_files_and_folders_of_the_machine_are_uploaded_as_names(shared_study, hub, model):
    files = hub.repositories["me/places"].files
    assert "report.html" not in files
    for name, data in files.items():
        for place in (shared_study["folder"], shared_study["folder"].parent, model):
            assert str(place).encode() not in data, name
    manifest = json.loads(files["manifest.json"])
    assert manifest["argv"] == ["fit", "--model", "small", "--texts", "notes.txt"]
    config = json.loads(files["config.json"])
    assert config["source_settings"] == {"path": "notes.txt"}
    assert config["model"] == "small"
    assert platform.release() not in manifest["platform"]
    assert "path notes.txt" in files["README.md"].decode()


def test_it_comes_back_as_it_was_with_a_model_and_without(shared_study):
    pushed, loaded = shared_study["pushed"], shared_study["loaded"]
    assert loaded == pushed | {"name": "small-L1-sde"}
    assert shared_study["without"]["drift"] == pushed["drift"]


def test_a_name_that_is_nowhere_is_one_sentence(shared_study):
    assert shared_study["absent"]["code"] == 3
    assert "No run named 'me/none'" in shared_study["absent"]["error"]
    assert "nor on the hub" in shared_study["absent"]["error"]


def test_what_a_repository_names_is_not_run_and_a_hub_that_refuses_is_said(
    shared_study, model, hub, tmp_path
):
    served = tmp_path / "served"
    for name, data in hub.repositories["me/small-L1-sde"].files.items():
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        (served / name).write_bytes(data)
    config = json.loads((served / "fits/L01/config.json").read_text())
    config["probe"] = "os:system"
    (served / "fits/L01/config.json").write_text(json.dumps(config))
    (served / "probe.py").write_text("raise SystemExit('run')")
    (served / "law.pkl").write_bytes(b"a pickle")
    with serving({"me/small-L1-sde": Repository(served)}, tmp_path / "hub") as other:
        run, home = shared_study["folder"], tmp_path / "home"
        told = python("refuse", model, run, home, other.endpoint, token="")
        assert not any("probe.py" in line or "law.pkl" in line for line in other.log)
    assert told["tampered"]["code"] == 3
    assert "was fitted by the probe 'os:system'" in told["tampered"]["error"]
    assert told["denied"]["code"] == 4
    assert "set HF_TOKEN" in told["denied"]["error"]
