"""What tests share. Our packages are imported inside: shape checks hook in after this file."""

import os
from pathlib import Path

import pytest

# set before transformers and huggingface_hub are first imported: tests need no network
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
SHARED_MODELS = ("TinyStories-656K", "char-gpt2-shakespeare", "stories260K")

collect_ignore = ["campaigns/hostile_plugin.py"]  # registers plugins, of processes of its own
LONG = ("tests/cli", "docs", "tests/plugins/test_third_party.py", "tests/plugins/analyzers")


def pytest_collection_modifyitems(items):
    """Long modules come first, so that no worker has them left when the others are done."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared():
    """The folder of real tiny models and texts that lies beside the repository."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent: it holds the real models and texts")
    return SHARED


def _bridge(folder):
    from sdelens_plugins.models.bridge import BridgeModel

    return BridgeModel.load(str(folder), device="cpu")


@pytest.fixture(scope="session")
def char_gpt2(shared):
    """GPT-2: 4 blocks, width 64, context 48, 65 characters; BOS and EOS are both a newline."""
    return _bridge(shared / "models" / "char-gpt2-shakespeare")


@pytest.fixture(scope="session")
def stories(shared):
    """Llama: 5 blocks, width 64, context 512, 512 tokens; BOS and EOS differ."""
    return _bridge(shared / "models" / "stories260K")


@pytest.fixture(scope="session")
def tiny_stories(shared):
    """Llama: 2 blocks, width 128, context 512, 2048 tokens."""
    return _bridge(shared / "models" / "TinyStories-656K")


@pytest.fixture(scope="session", params=SHARED_MODELS)
def shared_model(request, shared):
    """Each of the real tiny models."""
    names = dict(zip(SHARED_MODELS, ("tiny_stories", "char_gpt2", "stories"), strict=True))
    return request.getfixturevalue(names[request.param])
