"""Tokenizer wrapper: ids without special tokens, and the text of each token."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdelens.errors import UsageError

UNDECODED = "\ufffd"
"""What decoders write for bytes that are no text."""


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
        return [self._text(number) for number in ids]

    def _text(self, number: int) -> str:
        """The text of a token by itself: bytes that are no text as <0xC3>, unknown ids as #7."""
        found = self.tokenizer.convert_ids_to_tokens(number)
        if found is None:
            return f"#{number}"
        token = str(found)
        # a clean-up would remove spaces
        word = str(self.tokenizer.decode([number], clean_up_tokenization_spaces=False))
        if UNDECODED in word and (data := bytes_in(token)) is not None:
            return readable(data)
        # decoding a single sentencepiece token may drop the marks of spaces before a word
        marks = len(token) - len(token.lstrip(SPACE))
        return " " * marks + word.lstrip(" ") if marks else word

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
SPACE = "▁"
"""How sentencepiece writes a space."""
FALLBACK = re.compile("<0x([0-9A-F]{2})>")
"""How sentencepiece writes a token of one byte."""
VISIBLE = (*range(33, 127), *range(161, 173), *range(174, 256))
"""The bytes that byte-level tokenizers write as the character of the same number."""
HIDDEN = [byte for byte in range(256) if byte not in VISIBLE]
"""The other bytes, which they write as characters from 256 on."""
BYTES = {chr(byte): byte for byte in VISIBLE} | {chr(256 + k): b for k, b in enumerate(HIDDEN)}


def bytes_in(token: str) -> bytes | None:
    r"""The bytes of a token of a byte-level or sentencepiece tokenizer; None for other tokens.

    >>> bytes_in("Ã"), bytes_in("<0xC3>"), bytes_in("▁a")
    (b'\xc3', b'\xc3', None)
    """
    if found := FALLBACK.fullmatch(token):
        return bytes.fromhex(found[1])
    if all(sign in BYTES for sign in token):
        return bytes(BYTES[sign] for sign in token)
    return None


def readable(data: bytes) -> str:
    r"""Text in UTF-8, with each byte that is not as its number.

    >>> readable(b" caf\xc3")
    ' caf<0xC3>'
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        broken = "".join(f"<0x{byte:02X}>" for byte in data[error.start : error.end])
        return data[: error.start].decode("utf-8") + broken + readable(data[error.end :])
