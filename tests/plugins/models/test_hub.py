"""Models from a hub: a real download from a server on the loopback address, in a fresh process."""

import json
import os
import subprocess
import sys
import time

import pytest

from tests.hub import Repository, serving

CLOSED = "http://127.0.0.1:9"

SCRIPT = """
import json, sys, time
from sdelens.errors import SdelensError
from sdelens_plugins.models.location import locate
asked = json.loads(sys.argv[1])
start = time.monotonic()
try:
    found = locate(asked.pop("name"), **asked)
    out = {"folder": str(found.folder), "revision": found.revision}
except SdelensError as error:
    out = {"code": error.exit_code, "error": str(error)}
print(json.dumps(out | {"seconds": time.monotonic() - start, "torch": "torch" in sys.modules}))
"""

CAPTURE = """
import sys
import sdelens
from sdelens.models import language_model
model = language_model("gpt2", offline=sys.argv[1] == "offline", device="cpu")
recording = sdelens.capture(model, ["ROMEO: what light", "JULIET: ay me"], layers=2)
(block,) = recording.view(2)
print(model.card.revision, model.card.fingerprint, float(block.states.double().sum()))
"""


def python(script, argument, home, endpoint):
    # a fresh cache, no token of whoever runs the tests, and no HF_HUB_OFFLINE
    hidden = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "TRANSFORMERS_OFFLINE")
    rest = {name: value for name, value in os.environ.items() if name not in hidden}
    settings = {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", script, argument]
    return subprocess.run(
        command, env=rest | settings, capture_output=True, text=True, check=True, timeout=120
    ).stdout


def asked(name, home, endpoint, **settings):
    return json.loads(python(SCRIPT, json.dumps({"name": name} | settings), home, endpoint))


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "models" / "char-gpt2-shakespeare"


def test_a_model_is_fetched_cached_and_found_again_when_the_hub_is_gone(folder, tmp_path):
    with serving({"gpt2": Repository(folder)}) as hub:
        first = python(CAPTURE, "online", tmp_path, hub.endpoint)
        commit = hub.repositories["gpt2"].commit
        assert first.split()[0] == commit
        assert any(line.startswith("GET gpt2/resolve/") for line in hub.log)
    assert python(CAPTURE, "offline", tmp_path, hub.endpoint) == first
    again = asked("gpt2", tmp_path, hub.endpoint)
    assert again["revision"] == commit, "a hub that is gone is no reason not to use the cache"


def test_files_that_a_model_is_not_loaded_from_are_not_fetched(folder, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    for file in folder.iterdir():
        (served / file.name).write_bytes(file.read_bytes())
    (served / "pytorch_model.bin").write_bytes(b"a pickle")
    with serving({"gpt2": Repository(served)}) as hub:
        found = asked("gpt2", tmp_path / "home", hub.endpoint)
    assert "error" not in found
    assert not any("pytorch_model.bin" in line for line in hub.log)
    assert not found["torch"], "finding a model imports no torch"


def test_a_misspelt_name_offers_the_nearest(folder, tmp_path):
    with serving({"gpt2": Repository(folder)}) as hub:
        found = asked("gtp2", tmp_path, hub.endpoint)
    assert found["code"] == 3
    assert "Did you mean 'gpt2'" in found["error"]


def test_a_revision_is_fetched_and_an_unknown_one_is_named(folder, tmp_path):
    repository = Repository(folder, revisions=("main", "step1000"))
    with serving({"EleutherAI/pythia-70m": repository}) as hub:
        found = asked("EleutherAI/pythia-70m", tmp_path, hub.endpoint, revision="step1000")
        absent = asked("EleutherAI/pythia-70m", tmp_path, hub.endpoint, revision="step7")
    assert found["revision"] == repository.commit
    assert absent["code"] == 3
    assert "step7" in absent["error"]


def test_a_gated_model_says_how_to_be_let_in(folder, tmp_path):
    with serving({"meta-llama/Llama-3.2-1B": Repository(folder, gated=True)}) as hub:
        found = asked("meta-llama/Llama-3.2-1B", tmp_path, hub.endpoint)
    assert found["code"] == 4
    assert "HF_TOKEN" in found["error"]
    assert "gated" in found["error"]


def test_a_repository_without_safetensors_is_refused(folder, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (served / name).write_bytes((folder / name).read_bytes())
    (served / "pytorch_model.bin").write_bytes(b"a pickle")
    with serving({"old": Repository(served)}) as hub:
        found = asked("old", tmp_path / "home", hub.endpoint)
    assert found["code"] == 2
    assert "safetensors" in found["error"]


@pytest.mark.parametrize("offline", [True, False], ids=["offline", "refused"])
def test_without_a_hub_the_error_comes_soon_and_says_what_is_cached(folder, tmp_path, offline):
    with serving({"cached-model": Repository(folder)}) as hub:
        asked("cached-model", tmp_path, hub.endpoint)
    found = asked("gpt2", tmp_path, CLOSED, offline=offline)
    assert found["code"] == 4
    assert "cached-model" in found["error"]
    assert "--model tiny" in found["error"]
    assert ("--offline was given" in found["error"]) == offline
    assert found["seconds"] < 20  # 1 s alone; retrying with back-off takes over 30


def test_the_server_itself_answers_as_the_hub_does(folder):
    from urllib.error import HTTPError
    from urllib.request import urlopen

    with serving({"gpt2": Repository(folder)}) as hub:
        reply = urlopen(f"{hub.endpoint}/gpt2/resolve/main/config.json")
        assert reply.read() == (folder / "config.json").read_bytes()
        assert reply.headers["X-Repo-Commit"] == hub.repositories["gpt2"].commit
        with pytest.raises(HTTPError) as absent:
            urlopen(f"{hub.endpoint}/gpt2/resolve/main/absent.json")
        assert absent.value.headers["X-Error-Code"] == "EntryNotFound"
        absent.value.close()
        started = time.monotonic()
    assert time.monotonic() - started < 5, "the server stops when it is told to"
