"""Conversations as token ids: in the model's chat template, or as plain text."""

from collections.abc import Mapping, Sequence

from sdelens.model_protocols import ChatModel, ModelPreview
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens.states.capturing import with_bos

Message = Mapping[str, str]
"""A ``role`` (``system``, ``user`` or ``assistant``) and a ``content``."""
SEPARATOR = "\n\n"
"""Separator between the messages of a conversation in plain text."""


def has_template(model: LanguageModel | ModelPreview) -> bool:
    """Whether the tokenizer of a model has a chat template."""
    if isinstance(model, ModelPreview):
        return model.has_template
    return isinstance(model, ChatModel) and model.has_template


def conversation(prompt: str, system: str | None = None) -> list[Message]:
    """A prompt as the only message of a user, after the system prompt if there is one."""
    opening = [] if system is None else [{"role": "system", "content": system}]
    return [*opening, {"role": "user", "content": prompt}]


def prompt_ids(
    model: LanguageModel, messages: Sequence[Message], *, template: bool = True
) -> list[int]:
    """Token ids of a conversation that the model is to continue with an answer.

    With `template` they are in the chat template of the model if it has one, up to the beginning
    of the answer. Otherwise they are the messages, separated by blank lines, after BOS if the
    model has one.
    """
    if template and isinstance(model, ChatModel) and model.has_template:
        return model.encode_chat(messages, answer=True)
    return with_bos(model, _plain(messages))


def _plain(messages: Sequence[Message]) -> str:
    return SEPARATOR.join(message["content"] for message in messages)


def answer_document(
    model: LanguageModel,
    messages: Sequence[Message],
    answer: str,
    *,
    length: int,
    group: int,
    template: bool = True,
) -> Document:
    """A given answer to a conversation, of at most `length` tokens and truncated to the context.

    The path starts at the last token before the answer, as in answers that the model samples. In
    the chat template, the answer ends with the end of its turn; in plain text, a blank line comes
    before it.
    """
    if template and has_template(model):
        asked = prompt_ids(model, messages)
        own = _turn(model, messages, answer, asked)
    else:
        asked = prompt_ids(
            model, [*messages, {"role": "assistant", "content": ""}], template=False
        )
        own = model.encode(answer)
    ids = tuple([*asked, *own[:length]][: model.card.context])
    start = len(asked) - 1 if len(asked) < len(ids) else len(ids)
    return Document(ids, start=start, group=group)


def _turn(
    model: LanguageModel, messages: Sequence[Message], answer: str, asked: Sequence[int]
) -> list[int]:
    """The tokens of an answer in the chat template, with the end of the turn."""
    if not isinstance(model, ChatModel):
        raise TypeError("a chat template needs a ChatModel")
    whole = model.encode_chat([*messages, {"role": "assistant", "content": answer}], answer=False)
    if whole[: len(asked)] != list(asked):  # a template that rewrites what came before
        return model.encode(answer)
    own = whole[len(asked) :]
    ends = [place for place, token in enumerate(own) if token in model.card.ends]
    return own[: ends[0] + 1] if ends else own
