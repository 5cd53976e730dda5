"""A tiny language model that is created on the fly, as a folder in Hugging Face format."""

from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import generator
from sdelens.store import write_json, write_tensors
from sdelens.temporary import Temporary

BLOCKS, WIDTH, HEADS, CONTEXT = 2, 8, 2, 48
END = "<|endoftext|>"
SPREAD = 0.3
"""Standard deviation of the random weights, large enough for states to move."""


@cache
def small_model(dtype: str = "float32") -> LanguageModel:
    """GPT-2 of two blocks, 8 wide, with drawn weights; its tokens are the 256 bytes and an end."""
    model = language_model(_folder().folder / "small", dtype=dtype, device="cpu")
    # a bridge sets up hooks of its own when attention is first read, which are nobody's leftovers
    attention = [Site("attention", block) for block in range(BLOCKS)]
    model.run(torch.zeros(1, 2, dtype=torch.long), read=attention)
    return model


@cache
def _folder() -> Temporary:
    """The folder of the model, kept until the process ends."""
    kept = Temporary()
    write_small_model(kept.folder / "small")
    return kept


def write_small_model(folder: Path) -> Path:
    """Write the model as a folder in Hugging Face format: weights, config, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", _weights(), {"format": "pt"})
    vocabulary = {END: 0} | {sign: 1 + place for place, sign in enumerate(_bytes())}
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_layer": BLOCKS,
        "n_embd": WIDTH,
        "n_head": HEADS,
        "n_positions": CONTEXT,
        "vocab_size": len(vocabulary),
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": True,
    }
    bytewise = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    special = {"id": 0, "content": END, "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokenizer = {
        "version": "1.0",
        "added_tokens": [special | flags],
        "pre_tokenizer": bytewise | {"use_regex": True},
        "decoder": bytewise | {"use_regex": True},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END}
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", tokenizer)
    write_json(folder / "tokenizer_config.json", words | {"model_max_length": CONTEXT})
    return folder


def _weights() -> dict[str, Tensor]:
    random = generator(0, "small model")

    def drawn(*shape: int) -> Tensor:
        return SPREAD * torch.randn(*shape, generator=random)

    named = {"wte.weight": drawn(257, WIDTH), "wpe.weight": drawn(CONTEXT, WIDTH)}
    wide = {"attn.c_attn": 3 * WIDTH, "attn.c_proj": WIDTH, "mlp.c_fc": 4 * WIDTH}
    for block in range(BLOCKS):
        for name, out in wide.items():
            named[f"h.{block}.{name}.weight"] = drawn(WIDTH, out)
            named[f"h.{block}.{name}.bias"] = torch.zeros(out)
        named[f"h.{block}.mlp.c_proj.weight"] = drawn(4 * WIDTH, WIDTH)
        named[f"h.{block}.mlp.c_proj.bias"] = torch.zeros(WIDTH)
    for name in ("ln_f", *(f"h.{k}.ln_{n}" for k in range(BLOCKS) for n in (1, 2))):
        named[f"{name}.weight"], named[f"{name}.bias"] = torch.ones(WIDTH), torch.zeros(WIDTH)
    return {f"transformer.{name}": tensor for name, tensor in named.items()}


def _bytes() -> list[str]:
    """The character for each byte in byte-level vocabularies."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in shown else next(others)) for byte in range(256)]
