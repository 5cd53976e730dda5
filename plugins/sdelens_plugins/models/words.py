"""Tokenizer wrapper: ids without special tokens, and the text of each token."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2.exceptions import TemplateError

from sdelens.errors import UsageError

UNDECODED = "\ufffd"
"""What decoders write for bytes that are not valid text."""


@dataclass(frozen=True, eq=False)
class Words:
    """A Hugging Face tokenizer, or None for models that are used with token ids only."""

    tokenizer: Any = None
    bos: str = "auto"
    """Whether texts begin with BOS: auto, always or never."""

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
        """The text of a token by itself: invalid bytes as <0xC3>, unknown ids as #7."""
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
    def first(self) -> int | None:
        """The BOS with which texts begin, if any.

        ``auto`` follows the training of the model as far as its tokenizer tells: BOS is prepended
        if the tokenizer does so, or if BOS is also EOS, which separates the texts of training.
        """
        found = self.special("bos")
        if self.bos == "never" or (found is None and self.bos == "auto"):
            return None
        if found is None:
            raise UsageError("--bos always needs a BOS token, but this tokenizer has none")
        if self.bos == "always" or found == self.special("eos"):
            return found
        return found if self.tokenizer("a", verbose=False)["input_ids"][:1] == [found] else None

    @property
    def has_template(self) -> bool:
        """Whether there is a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))

    def encode_chat(self, messages: Sequence[Mapping[str, str]], *, answer: bool) -> list[int]:
        """Token ids of a conversation in the chat template.

        With `answer`, the beginning of the assistant's next message follows.
        """
        if not self.has_template:
            raise UsageError("this tokenizer has no chat template: give plain texts instead")
        try:
            ids: list[int] = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                add_generation_prompt=answer,
                tokenize=True,
                return_dict=False,
            )
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            roles = ", ".join(str(message.get("role")) for message in messages)
            said = " ".join(str(error).split())
            raise UsageError(
                f"the chat template does not accept a conversation of {roles} ({said}): remove "
                "--system, or use --no-template"
            ) from error
        return list(ids)

    def turn_ends(self, generation: Any = None) -> tuple[int, ...]:
        """Special tokens besides EOS that end a text.

        They are those of the generation config, and the first special token that the template puts
        after an answer.
        """
        listed = getattr(generation, "eos_token_id", None)
        found = [listed] if isinstance(listed, int) else list(listed or ())
        if self.has_template:
            asked = [{"role": "user", "content": "a"}]
            answered = [*asked, {"role": "assistant", "content": "b"}]
            try:
                opened = self.encode_chat(asked, answer=True)
                after = self.encode_chat(answered, answer=False)[len(opened) :]
            except UsageError:  # a template for other kinds of conversations
                after = []
            found += [token for token in after if token in self._special][:1]
        known = self._special - {self.special("eos")}
        return tuple(dict.fromkeys(token for token in found if token in known))

    @property
    def _special(self) -> set[int]:
        added = getattr(self.tokenizer, "added_tokens_decoder", None) or {}
        return {number for number, token in added.items() if token.special}

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
