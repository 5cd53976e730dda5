"""Fixtures for the tests of plugins: a tiny bridge, a tiny Hugging Face model, a known process.

pytest imports this file at its start, by the entry point `pytest11`; what the fixtures need is
imported when they are asked for.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from sdelens.fitting.study import Study
    from sdelens.protocols import LanguageModel
    from sdelens.testing.ornstein_uhlenbeck import OrnsteinUhlenbeck


@pytest.fixture(scope="session")
def tiny_bridge() -> "LanguageModel":
    """A `LanguageModel` around a bridge: GPT-2 of two blocks, 8 wide, with drawn weights."""
    from sdelens.testing.small_model import small_model

    return small_model()


@pytest.fixture(scope="session")
def tiny_hf(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The same model as Hugging Face's class."""
    import torch
    from transformers import AutoModelForCausalLM

    from sdelens.testing.small_model import write_small_model

    folder = write_small_model(tmp_path_factory.mktemp("tiny") / "hf")
    with torch.random.fork_rng(devices=[]):
        return AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True
        )


@pytest.fixture(scope="session")
def ou_process() -> "OrnsteinUhlenbeck":
    """An Ornstein-Uhlenbeck process in two dimensions, whose drift and covariance are known."""
    from sdelens.testing import ornstein_uhlenbeck

    return ornstein_uhlenbeck(2)


@pytest.fixture(scope="session")
def tiny_study() -> "Study":
    """Fits to both blocks of the tiny bridge's states along 42 short texts."""
    from sdelens.testing.small_study import small_study

    return small_study()
