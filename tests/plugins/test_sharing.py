"""Studies on a hub: uploaded and opened again through a server on the loopback address."""

import json
import os
import subprocess
import sys

import pytest

from tests.hub import Repository, serving
from tests.small import TEXT, small_model

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import torch, sdelens
from sdelens.errors import SdelensError
from transformers import AutoModelForCausalLM
step, folder, run = sys.argv[1:4]
told = {}
try:
    if step == "push":
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        texts = json.loads(sys.argv[4])
        study = sdelens.attach(model).fit(texts, layers=1, probe="linear", seed=0)
        told["saved"] = str(study.save(run))
        told["url"] = study.push_to_hub("me/small-L1-sde")
        study.push_to_hub("me/small-L1-sde")
    else:
        study = sdelens.load("me/small-L1-sde", *([] if folder == "-" else [
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)]))
        told["name"] = study.name
    view, viewed = study.single
    told["scores"] = viewed.fitted.record.scores["held_out_nll_per_dim"]
    told["row"] = viewed.fitted.record.scores["fit"]["nll_per_dim"]
    told["drift"] = float(viewed.fitted.drift(1.0, torch.ones(16)).sum())
    if folder != "-":
        told["headline"] = study.analyze("trajectory", prompt="the cat sat").headline
except SdelensError as error:
    told |= {"code": error.exit_code, "error": str(error)}
print(json.dumps(told))
"""
TEXTS = json.dumps([f"{i} {TEXT[i % 4]}" for i in range(20)])


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
def pushed(model, hub, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pushed")
    told = python("push", model, folder / "run", folder / "home", hub.endpoint)
    assert "error" not in told
    return told | {"folder": folder / "run"}


def test_what_is_uploaded_is_what_is_saved_and_a_card(pushed, hub):
    repository = hub.repositories["me/small-L1-sde"]
    saved = {
        file.relative_to(pushed["folder"]).as_posix(): file.read_bytes()
        for file in pushed["folder"].rglob("*")
        if file.is_file()
    }
    assert repository.private
    assert {*repository.files} - {*saved} == {"README.md"}
    for name, data in saved.items():
        assert repository.files[name] == data, name
    kinds = {name.rpartition(".")[2] for name in saved}
    assert kinds == {"json", "jsonl", "safetensors", "fits/L01/DONE"}, "nothing that is run"


def test_the_card_has_the_scores_and_how_to_open_it(pushed, hub):
    card = hub.repositories["me/small-L1-sde"].files["README.md"].decode()
    assert card.startswith("---\nlibrary_name: sdelens\n")
    assert "base_model" not in card, "a folder's name need not be one on the hub"
    assert 'sdelens.load("me/small-L1-sde", model=model)' in card
    assert "| linear (the fit) | " in card
    assert f"{pushed['row']:.3f}" in card
    assert "token ids of 20 texts" in card
    assert str(pushed["folder"].parent) not in card


def test_it_comes_back_on_another_machine_as_it_was(pushed, model, hub, tmp_path):
    found = python("load", model, "-", tmp_path, hub.endpoint)
    assert found["name"] == "small-L1-sde"
    for key in ("scores", "drift", "headline"):
        assert found[key] == pushed[key], key


def test_coefficients_need_no_model(pushed, hub, tmp_path):
    found = python("load", "-", "-", tmp_path, hub.endpoint)
    assert found["drift"] == pushed["drift"]


def test_what_a_repository_names_is_not_run_and_other_files_are_not_fetched(pushed, hub, tmp_path):
    served = tmp_path / "served"
    repository = hub.repositories["me/small-L1-sde"]
    for name, data in repository.files.items():
        (served / name).parent.mkdir(parents=True, exist_ok=True)
        (served / name).write_bytes(data)
    config = json.loads((served / "fits/L01/config.json").read_text())
    config["probe"] = "os:system"
    (served / "fits/L01/config.json").write_text(json.dumps(config))
    (served / "probe.py").write_text("raise SystemExit('run')")
    (served / "law.pkl").write_bytes(b"a pickle")
    with serving({"me/small-L1-sde": Repository(served)}) as other:
        found = python("load", "-", "-", tmp_path / "home", other.endpoint)
        assert not any("probe.py" in line or "law.pkl" in line for line in other.log)
    assert found["code"] == 3
    assert "No probe named 'os:system'" in found["error"]


def test_a_name_that_is_nowhere_and_a_hub_that_refuses_are_one_sentence(model, tmp_path):
    with serving({}, tmp_path / "hub") as empty:
        absent = python("load", "-", "-", tmp_path / "one", empty.endpoint)
        refused = python(
            "push", model, tmp_path / "run", tmp_path / "two", empty.endpoint, token=""
        )
    assert absent["code"] == 3
    assert "small-L1-sde" in absent["error"]
    assert "not on the hub" in absent["error"]
    assert refused["code"] == 4
    assert "set HF_TOKEN" in refused["error"]
    gone = python("load", "-", "-", tmp_path / "three", "http://127.0.0.1:9")
    assert gone["code"] == 4
    assert "hub cannot be reached" in gone["error"]
