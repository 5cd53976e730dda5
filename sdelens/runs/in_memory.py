"""Models, documents and states in memory, instead of those named by a job."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.paths.documents import Document, Documents
from sdelens.protocols import LanguageModel
from sdelens.runs.padding import require_no_padding, without_padding
from sdelens.states.capturing import encode_document
from sdelens.states.recording import Recording
from sdelens.states.requirements import require_vocabulary
from sdelens.unicode_text import require_unicode

GIVEN = "given"
"""The source name of a job whose texts were given in Python."""

Texts = str | Tensor | Documents | Sequence[str | Sequence[int] | Tensor]
"""One or many texts or sequences of token ids."""


@dataclass(frozen=True, eq=False)
class Given:
    """A model, its documents, and their states."""

    model: LanguageModel | None = None
    documents: Documents | None = None
    recording: Recording | None = None


@dataclass(frozen=True, eq=False)
class GivenSource:
    """A source of documents in memory."""

    given: Documents

    @property
    def documents_wanted(self) -> int:
        """Number of documents."""
        return len(self.given)

    @property
    def length(self) -> int:
        """Length of the longest document in tokens."""
        return int(self.given.lengths.max())

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        """The documents, unchanged."""
        del model, seed
        return iter(self.given)


def documents_given(
    model: LanguageModel,
    texts: Texts,
    *,
    length: int | None = None,
    attention_mask: Any = None,
) -> Documents:
    """One document per text, with BOS in front; token ids are used unchanged.

    `length` is the maximum number of tokens after BOS. A tensor is one text ``[time]`` or several
    ``[text, time]``, whose padding `attention_mask` removes.
    """
    if attention_mask is not None:
        texts = without_padding(texts, attention_mask)
    if isinstance(texts, Documents):
        if bool((texts.group < 0).any()):
            raise UsageError(
                f"groups of documents must be 0 or more, got {int(texts.group.min())}: number them"
            )
        return texts
    if isinstance(texts, Mapping):
        raise UsageError(
            "texts must be strings or token ids, got the whole output of a tokenizer "
            f"({', '.join(map(str, texts))}): give its input_ids, with attention_mask= if padded"
        )
    listed = [texts] if isinstance(texts, str) or _is_ids(texts) else _listed(texts)
    return Documents.of(
        Document(_ids(model, text, length, f"text {number}")) for number, text in enumerate(listed)
    )


def _is_ids(texts: Any) -> bool:
    """Whether this is one sequence of token ids."""
    if isinstance(texts, Tensor):
        return texts.ndim == 1
    listed = _listed(texts)
    return len(listed) > 0 and all(isinstance(token, int) for token in listed)


def _listed(texts: Any) -> list[Any]:
    try:
        return list(texts)
    except TypeError as error:
        raise UsageError(
            f"texts must be strings or token ids, got {type(texts).__name__}: put them in a list"
        ) from error


def _ids(model: LanguageModel, text: Any, length: int | None, name: str) -> tuple[int, ...]:
    if isinstance(text, str):
        return tuple(encode_document(model, require_unicode(text, name), length=length))
    try:
        ids = torch.as_tensor(text)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"{name} must be a string or token ids, got {type(text).__name__} ({error}): leave it "
            "out, or give a string"
        ) from error
    integers = not (ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool)
    if ids.ndim != 1 or not (integers or ids.numel() == 0):
        raise UsageError(
            f"texts must be strings or token ids [text, time], got {name} as {ids.dtype} of shape "
            f"{list(ids.shape)}: give integers, or strings"
        )
    require_vocabulary(model.card, ids.long())
    require_no_padding(model, ids.long(), name)
    # the caller decides whether ids include BOS
    return tuple(ids.tolist()[: model.card.context if length is None else length + 1])
