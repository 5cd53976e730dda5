"""Tokenizer wrapper: ids without special tokens, and the text of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdelens.errors import UsageError


@dataclass(frozen=True, eq=False)
class Words:
    """A Hugging Face tokenizer, or None for models that are used with token ids only."""

    tokenizer: Any = None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        if self.tokenizer is None:
            raise UsageError(
                "texts need a tokenizer, but this model has none: use "
                "attach(model, tokenizer=…), or give token ids instead of texts"
            )
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The text of each token; its id if there is no tokenizer."""
        if self.tokenizer is None:
            return [f"#{number}" for number in ids]
        # decoding a single sentencepiece token would drop the mark of a word's beginning
        marked = (str(self.tokenizer.convert_ids_to_tokens(i)).startswith("▁") for i in ids)
        words = (str(self.tokenizer.decode([i])) for i in ids)
        return [
            f" {word.lstrip()}" if begins else word
            for begins, word in zip(marked, words, strict=True)
        ]

    def special(self, kind: str) -> int | None:
        """The id of a special token according to the tokenizer's own files.

        TransformerLens sets BOS to EOS for tokenizers without BOS, which is ignored here.
        """
        if self.tokenizer is None:
            return None
        if getattr(self.tokenizer, "init_kwargs", {}).get(f"{kind}_token", "") is None:
            return None
        found: int | None = getattr(self.tokenizer, f"{kind}_token_id", None)
        return found

    @property
    def longest(self) -> int:
        """The maximum length in the tokenizer's files, or a very large number."""
        return int(min(getattr(self.tokenizer, "model_max_length", MANY), MANY))


MANY = 10**9
