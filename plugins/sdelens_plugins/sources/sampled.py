"""Texts sampled from the model itself: its answers to prompts, or texts from BOS on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from sdelens.errors import UsageError
from sdelens.language.chat import has_template, prompt_ids
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens.settings import require_at_least
from sdelens.states.generation import continue_texts, sample
from sdelens.states.sampling import Sampler
from sdelens_plugins.sources.dataset import DatasetSource
from sdelens_plugins.sources.file import COMPRESSED, READERS, kind_of, read_rows
from sdelens_plugins.sources.prompts import (
    Conversation,
    chosen,
    conversations,
    prompt_column,
    shipped_questions,
)


@dataclass(frozen=True)
class SampledSource:
    """Sample `documents_wanted` texts of at most `length` tokens after a prompt, ended by EOS.

    The prompts are a list, a file or a dataset. Without any, a model with a chat template answers
    the questions that come with the package, and the texts of other models begin after BOS.
    """

    documents_wanted: int = 512
    length: int = 200
    temperature: float = 1.0
    top_p: float = 1.0
    ignore_eos: bool = False
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    prompts: str | list[str] | None = None
    column: str | None = None
    split: str = "train"
    config: str | None = None
    revision: str | None = None
    stream: Literal["no", "first", "shuffle"] = "no"
    system: str | None = None
    template: bool = True
    answers: int = 1
    offline: bool = False

    def __post_init__(self) -> None:
        self.sampling_settings()  # validates the settings before any work
        require_at_least(self, answers=1)
        if isinstance(self.prompts, list) and not any(map(str.strip, self.prompts)):
            raise UsageError("prompts must contain a text, but all are empty: give questions")
        if self.system is not None and not self.template:
            raise UsageError("a system prompt needs the chat template: remove one of the two")

    def sampling_settings(self) -> Sampler:
        """How the next token is drawn."""
        return Sampler(**{field.name: getattr(self, field.name) for field in fields(Sampler)})

    def check_input(self) -> None:
        """Raise `UsageError` if the prompts cannot be read."""
        self._conversations(template=True)

    def described_prompts(self, *, template: bool) -> str | None:
        """What the model is given, for the plan; None for BOS."""
        if self.prompts is None and not (template and self.template):
            return None
        form = "in its chat template" if template and self.template else "as plain text"
        count = "" if self.answers == 1 else f", {self.answers} each"
        if self.prompts is None:
            what = f"the {len(shipped_questions())} open questions of sdelens"
        elif isinstance(self.prompts, list):
            what = f"{len(self.prompts)} prompts"
        else:
            what = f"the prompts of {self.prompts}"
        return f"to {what}{count}, {form}"

    def answers_wanted(self, *, template: bool) -> int:
        """The number of documents wanted, or that of the answers to a list or file of prompts."""
        self._require_template(template)
        if isinstance(self.prompts, str) and not Path(self.prompts).is_file():
            return self.documents_wanted  # a dataset, which is not fetched yet
        asked = self._conversations(template=template and self.template)
        if asked is None:
            return self.documents_wanted
        return min(self.documents_wanted, self.answers * sum(map(bool, asked)))

    def _require_template(self, template: bool) -> None:
        """Raise `UsageError` if there is a system prompt, but no chat template."""
        if self.system is not None and not template:
            raise UsageError(
                "a system prompt needs a chat template, but the model has none: remove --system, "
                "or choose an instruct model"
            )

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        template = self.template and has_template(model)
        self._require_template(template)
        asked = self._conversations(template=template)
        sampler, length = self.sampling_settings(), self.length
        if asked is None:
            count = self.documents_wanted
            return sample(model, sampler, documents=count, length=length, seed=seed)
        wanted = -(-self.documents_wanted // self.answers)
        prompts = [
            document
            for document in self._prompts(model, chosen(asked, wanted, seed))
            for _ in range(self.answers if document.tokens else 1)
        ]
        return self._answered(model, prompts, seed)

    def _conversations(self, *, template: bool) -> list[Conversation] | None:
        """All prompts; None where texts begin after BOS."""
        if self.prompts is None:
            if not template:
                return None
            rows = [{"prompt": question} for question in shipped_questions()]
            return list(conversations(rows, "prompt", self.system))
        if isinstance(self.prompts, list):
            rows = [{"prompt": prompt} for prompt in self.prompts]
            return list(conversations(rows, "prompt", self.system))
        if Path(self.prompts).is_file():
            read: Sequence[Mapping[str, Any]] = read_rows(Path(self.prompts))
            names: Sequence[str] = list(dict.fromkeys(name for row in read for name in row))
        else:
            if kind_of(Path(self.prompts)) in (*READERS, *COMPRESSED):
                raise UsageError(f"the file of prompts {self.prompts} does not exist")
            source = DatasetSource(
                self.prompts,
                split=self.split,
                documents_wanted=self.documents_wanted,
                config=self.config,
                revision=self.revision,
                stream=self.stream,
                offline=self.offline,
            )
            names, read = source.names, list(source.rows())
        column = prompt_column(names, self.column, self.prompts)
        return list(conversations(read, column, self.system))

    def _prompts(self, model: LanguageModel, asked: list[Conversation]) -> Iterator[Document]:
        """Prompts as documents, equal ones in one group.

        Those that leave no room for a transition in the context are empty, and not answered.
        """
        groups: dict[tuple[int, ...], int] = {}
        for messages in asked:
            ids = prompt_ids(model, messages, template=self.template) if messages else []
            tokens = tuple(ids) if len(ids) < model.card.context - 1 else ()
            yield Document(tokens, group=groups.setdefault(tokens, len(groups)))

    def _answered(
        self, model: LanguageModel, prompts: list[Document], seed: int
    ) -> Iterator[Document]:
        """Empty prompts as they are, then the answers to the others."""
        yield from (prompt for prompt in prompts if not prompt.tokens)
        rest = [prompt for prompt in prompts if prompt.tokens][: self.documents_wanted]
        sampler, length = self.sampling_settings(), self.length
        yield from continue_texts(model, sampler, rest, length=length, seed=seed)
