"""Reads config.json; one with numbers that no model has is refused."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig

from sdelens.errors import UsageError, shortened
from sdelens_plugins.models.location import Located
from sdelens_plugins.models.words import MANY

SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Never run code that comes with a model, and never prompt for it."""
SIZES = {
    "num_hidden_layers": 10_000,
    "hidden_size": 2**20,
    "vocab_size": 2**24,
    "max_position_embeddings": MANY,
}
"""The largest value of each size, far above those of any model."""
LARGEST = torch.finfo(torch.float32).max
"""Largest number in a computation, which may be in float32."""


def read_config(located: Located) -> PretrainedConfig:
    """The config of a model; raises `UsageError` for sizes and numbers out of range."""
    own = {"gguf_file": located.gguf} if located.gguf else {}
    config: PretrainedConfig = AutoConfig.from_pretrained(
        str(located.folder), attn_implementation=None, **own, **SAFE
    )
    known = config.get_text_config()
    for name, most in SIZES.items():
        size = getattr(known, name, None)
        if name == "max_position_embeddings" and size is None:
            continue  # the tokenizer may know the context
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
            raise UsageError(
                f"config.json of {located.name} must have {name} from 1 to {most:,}, got "
                f"{shortened(size)}: correct it"
            )
    for place, number in _numbers(config.to_dict(), ""):
        if not abs(number) <= LARGEST:  # NaN is not
            raise UsageError(
                f"{place} in config.json of {located.name} must be at most {LARGEST:.1e} in size, "
                f"got {shortened(number)}: correct it"
            )
    return config


def _numbers(value: Any, place: str) -> Iterator[tuple[str, int | float]]:
    """All numbers in a JSON value, with their places."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _numbers(inner, f"{place}.{name}".lstrip("."))
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _numbers(inner, f"{place}[{number}]")
    elif isinstance(value, int | float):
        yield place, value
