"""A tokenizer as the core asks it: ids without special tokens, and the text of each token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdelens.errors import UsageError


@dataclass(frozen=True, eq=False)
class Words:
    """A tokenizer of Hugging Face's, or none: a model can be asked by token ids alone."""

    tokenizer: Any = None

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        if self.tokenizer is None:
            raise UsageError(
                "a text needs a tokenizer, but this model came without one: give "
                "attach(model, tokenizer=…), or token ids in place of texts"
            )
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself; its number where there is no tokenizer."""
        if self.tokenizer is None:
            return [f"#{number}" for number in ids]
        # sentencepiece marks a word's beginning, which decoding a token by itself would drop
        marked = (str(self.tokenizer.convert_ids_to_tokens(i)).startswith("▁") for i in ids)
        words = (str(self.tokenizer.decode([i])) for i in ids)
        return [
            f" {word.lstrip()}" if begins else word
            for begins, word in zip(marked, words, strict=True)
        ]

    def special(self, kind: str) -> int | None:
        """The id of a special token that the tokenizer's own files name.

        TransformerLens gives its tokenizer the EOS as BOS where it has none.
        """
        if self.tokenizer is None:
            return None
        if getattr(self.tokenizer, "init_kwargs", {}).get(f"{kind}_token", "") is None:
            return None
        found: int | None = getattr(self.tokenizer, f"{kind}_token_id", None)
        return found

    @property
    def longest(self) -> int:
        """The longest text that the tokenizer's files name; far more than any where none."""
        return int(min(getattr(self.tokenizer, "model_max_length", MANY), MANY))


MANY = 10**9
