"""`sdelens models`: the catalogue, fetching, and the check with its exit code."""

import json
import shutil

import pytest
import torch


@pytest.fixture(scope="module")
def bert(model, tmp_path_factory):
    """A folder with an encoder, which transformers loads as a causal language model."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("models") / "bert"
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(
        "bert", **sizes, intermediate_size=32, vocab_size=320, initializer_range=0.3
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, folder)
    return folder


def test_the_catalogue_is_a_table_or_json(sdelens):
    rows = {
        row["name"]: row
        for row in json.loads(sdelens("models", "list", "--json").stdout)["models"]
    }
    assert rows["tiny"]["available"]
    assert rows["smollm2-135m-instruct"]["licence"] == "Apache-2.0"
    (line,) = [
        row for row in sdelens("models", "list").stdout.splitlines() if row.startswith("tiny")
    ]
    assert line.endswith("(on this machine)")


def test_get_prints_the_folder_and_suggests_names(sdelens, model):
    assert sdelens("models", "get", model).stdout.strip() == str(model)
    offline = sdelens("models", "get", "smollm2-135m-instruct", "--offline")
    assert offline.returncode == 4
    assert "sdelens models get smollm2-135m-instruct with a connection" in offline.stderr
    absent = sdelens("models", "get", "./nowhere.gguf")
    assert absent.returncode == 2
    assert "does not exist" in absent.stderr


def test_a_model_that_passes_and_one_that_fails(sdelens, model, bert):
    good = sdelens("models", "check", model)
    assert good.returncode == 0, good.stderr
    assert [line.split()[0] for line in good.stdout.splitlines()] == ["passed"] * 11
    bad = sdelens("models", "check", bert, "--json")
    assert bad.returncode == 2
    rows = {row["name"]: row["passed"] for row in json.loads(bad.stdout)["check"]}
    assert rows["causal"] is False


def test_a_fit_of_an_encoder_ends_with_the_row_that_failed(sdelens, bert, texts, tmp_path):
    out = tmp_path / "run"
    done = sdelens("fit", "--model", bert, "--texts", texts, "--probe", "linear", "--out", out)
    assert done.returncode == 2
    assert "bert fails the check 'causal'" in done.stderr
    assert not (out / "manifest.json").exists()
