"""What is wrong with a command is said before a model is loaded; so is the plan."""

import json

import pytest

from tests.cli.test_errors import words

HUGE = 10**30
WRONG = {
    "no text file": (2, ".txt", "--texts /etc/passwd"),
    "no column": (2, "'story'", "--texts {texts} --column story"),
    "damaged file": (2, "cannot be read", "--texts {folder}/broken.jsonl"),
    "unknown analyzer source": (3, "No source", "--source nothing"),
    "layer": (2, "3 blocks", "--layer 7"),
    "huge layer": (2, "3 blocks", f"--layer 0-{HUGE}"),
    "skipped": (2, "context", "--skip-first 47"),
    "skipped for ever": (2, "64 bits", f"--skip-first {HUGE}"),
    "architecture": (2, "config.json", "--model {folder}/strange"),
    "too many texts": (5, "more than", f"--documents {10**15}"),
    "far too many texts": (2, "64 bits", f"--documents {HUGE}"),
    "no temperature": (2, "temperature", "--temperature nan"),
    "infinite": (2, "finite", "--set source.temperature=1e400"),
    "tiny": (2, "temperature", "--temperature 1e-300"),
    "not a number": (2, "finite", "--set probe.rate=NaN"),
    "negative": (2, "branches", "--target branched --branches -1"),
    "integer": (2, "64 bits", f"--set probe.width={HUGE}"),
    "ensemble": (2, "members", f"--ensemble {10**6}"),
    "length": (2, "--length", "--set source.length=-1"),
    "nested": (2, "int", "--set probe.width=" + "[" * 5000),
    "empty dataset": (2, "--dataset is empty", "--dataset="),
    "empty model": (2, "--model is empty", "--model="),
    "unwritable": (2, "cannot be", "--out {texts}/run"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that are wrong."""
    folder = tmp_path_factory.mktemp("early")
    (folder / "broken.jsonl").write_text('{"text": "a"\n')
    (folder / "strange").mkdir()
    (folder / "strange/config.json").write_text('{"model_type": "nothing-known"}')
    (folder / "strange/tokenizer_config.json").write_text("{}")
    (folder / "strange/model.safetensors").touch()
    return folder


@pytest.fixture
def unloaded(monkeypatch):
    """Fail if a model is loaded."""

    def load(*_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("sdelens.runs.engine.load_model", load)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_one_sentence_before_a_model_is_loaded(
    sdelens, unloaded, folder, model, texts, name
):
    code, part, arguments = WRONG[name]
    own = arguments.split()
    base = words("--probe neural", folder, model, texts)
    found = sdelens(*base, *(each.format(folder=folder, texts=texts) for each in own))
    assert found.returncode == code, found.stderr
    assert part in found.stderr
    assert found.stderr.startswith("Error: ")
    assert len(found.stderr.splitlines()) == 1
    assert len(found.stderr) < 600
    assert not (folder / "runs").exists()


def test_a_plan_reads_no_weights(sdelens, unloaded, job, tmp_path):
    shown = sdelens(*job, "--out", tmp_path / "never", "--dry-run", "--seed", HUGE)
    assert shown.returncode == 0, shown.stderr
    assert "not read yet (raw, float32)" in shown.stderr
    card = json.loads(sdelens(*job, "--dry-run", "--json").stdout)["plan"]["model"]
    assert (card["blocks"], card["width"], card["context"], card["fingerprint"]) == (3, 16, 48, "")
