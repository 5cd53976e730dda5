"""A small model on disk, the command as a process of its own, and one finished run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (
    "the cat sat on the mat and the dog ran to the door",
    "a bird sang in the tree while the wind moved the leaves",
    "she opened the book and read about the sea and the ships",
    "he walked along the river until the sun was low and red",
)
COMMAND = (sys.executable, "-c", "from sdelens_cli.main import main; main()")
QUICK = ("--set", "probe.epochs=2", "--set", "probe.least_steps=2", "--set", "probe.width=16")


def small_model(folder):
    """A GPT-2 of three blocks with drawn weights and a tokenizer of its own."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end
    ).save_pretrained(folder)
    config = GPT2Config(
        vocab_size=tokenizer.get_vocab_size(),
        n_positions=48,
        n_embd=16,
        n_layer=3,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        initializer_range=0.3,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of the small model."""
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Forty documents of one line each."""
    file = tmp_path_factory.mktemp("texts") / "lines.txt"
    file.write_text("\n".join(f"{TEXT[i % 4]} number {i}" for i in range(40)))
    return file


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """One thread, no network, a cache of its own."""
    return os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "SDELENS_CACHE": str(tmp_path_factory.mktemp("cache")),
        "COLUMNS": "100",
    }


@pytest.fixture(scope="session")
def sdelens(environment, tmp_path_factory):
    """Run the command and wait for it."""
    folder = tmp_path_factory.mktemp("cwd")

    def run(*arguments, **variables):
        return subprocess.run(
            [*COMMAND, *map(str, arguments)],
            env=environment | variables,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture(scope="session")
def job(model):
    """The arguments of a quick fit of two layers."""
    return ("fit", "--model", model, "--layer", "0,2", "--documents", 40, "--length", 24, *QUICK)


@pytest.fixture(scope="session")
def finished(sdelens, job, tmp_path_factory):
    """The folder of a finished run; what `--json` printed lies beside it."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    done = sdelens(*job, "--out", folder, "--json")
    assert done.returncode == 0, done.stderr
    (folder.parent / "printed.json").write_text(done.stdout)
    (folder.parent / "stderr.txt").write_text(done.stderr)
    return folder


@pytest.fixture(scope="session")
def printed(finished):
    """The one JSON object that the finished run printed."""
    return json.loads(Path(finished.parent, "printed.json").read_text())
