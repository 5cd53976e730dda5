"""The tokenizer that a GGUF file describes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers.integrations.gguf.gguf_tokenizer_mapping import (
    GGUF_PRE_TOKENIZER_SPLITS,
    convert_gguf_tokenizer,
    get_gguf_tokenizer,
)

from sdelens.errors import UsageError

SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")
WHOLE = {None, "", "default", "gpt-2", "gpt2", "olmo", "phi-2", "mpt", "jais"}
"""Rules for which GPT-2's, or that of the kind of tokenizer, is right."""
DIGITS = {"smollm", "starcoder", "refact", "command-r", "exaone", "codeshell"}
"""Rules that separate digits, and split like GPT-2 otherwise."""


def tokenizer_of(file: Path) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the file's tokens, merges, special tokens and chat template.

    Raises `UsageError` if the file splits texts by a rule that is not known here.
    """
    architecture, parts, settings = get_gguf_tokenizer(str(file))
    rule = parts.get("pre_tokenizer_type")
    byte_level = parts.get("tokenizer_type") == "gpt2"
    if byte_level and rule not in WHOLE | DIGITS | GGUF_PRE_TOKENIZER_SPLITS.keys():
        raise UsageError(
            f"{file.name} splits texts by the rule {rule!r}, which is not known, so its tokens "
            "would differ: give the folder of the model in Hugging Face format"
        )
    backend, _ = convert_gguf_tokenizer(architecture, parts)
    if byte_level and rule in DIGITS:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    if parts.get("tokenizer_type") == "llama" and parts.get("add_prefix_space", True):
        # sentencepiece puts a space in front of every text, also of one that begins with a space
        backend.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
        backend.pre_tokenizer = None
    special = {name: settings[name] for name in SPECIAL if settings.get(name) is not None}
    _add_bos(backend, settings)
    make: Any = PreTrainedTokenizerFast
    found: PreTrainedTokenizerFast = make(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        add_bos_token=bool(settings.get("add_bos_token")),
        **({"chat_template": settings["chat_template"]} if "chat_template" in settings else {}),
        **special,
    )
    return found


def _add_bos(backend: Tokenizer, settings: Mapping[str, Any]) -> None:
    """BOS in front of texts, if the file says so, and nothing else around them."""
    bos = settings.get("bos_token") if settings.get("add_bos_token") else None
    before = [] if bos is None else [bos]
    backend.post_processor = processors.TemplateProcessing(
        single=[*before, "$A"],
        pair=[*before, "$A", *before, "$B:1"],
        special_tokens=[(token, backend.token_to_id(token)) for token in before],
    )
