"""Texts with their recorded states, for running a language model on them again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.prompt import prompt_paths
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Trajectories, require_finite
from sdelens.protocols import LanguageModel

LONG, CANDIDATES = 200, 64
"""The states that make a document long enough, and the test documents to choose from.

Without a prompt, all analyzers use the first one that is long enough, or else the longest, so that
their views are of the same text."""


@dataclass(frozen=True, eq=False)
class Text:
    """Token ids of one context, and the states recorded at some of its positions."""

    name: str
    ids: Int[Tensor, " token"]
    at: Int[Tensor, " time"]
    """Positions of the states in `ids`, in increasing order."""
    states: Float[Tensor, "time dim"]

    @property
    def times(self) -> Float[Tensor, " time"]:
        """Positions as times of the fit."""
        return self.at.to(self.states.dtype)

    @property
    def tokens(self) -> Int[Tensor, " time"]:
        """The token at each recorded position."""
        return self.ids[self.at]

    def first(self, count: int) -> "Text":
        """The text up to its `count`-th recorded state."""
        at = self.at[:count]
        return Text(self.name, self.ids[: int(at[-1]) + 1], at, self.states[:count])


def required_model(study: Study) -> LanguageModel:
    """The model of a study; raises `UsageError` if there is none."""
    if study.model is None:
        raise UsageError(
            "this analyzer needs the language model of the run, but it is not loaded: open the "
            "run with its model"
        )
    return study.model


def prompt_text(study: Study, prompt: str) -> Text:
    """A prompt with its states at the site of the view, captured as in the run."""
    view, _ = study.single
    found = prompt_paths(study, prompt, states=1)
    ((_, text),) = _texts(next(iter(found.paths[view])), found.document)
    return replace(text, name="the prompt")


def held_out_texts(study: Study, *, documents: int, states: int = 1) -> list[Text]:
    """The first `documents` test documents with at least `states` states, one per group.

    Responses to the same prompt form a group because they are not independent.
    """
    _, viewed = study.single
    group, chosen = study.documents.group.tolist(), dict[int, Text]()
    for number, text in (own for block in viewed.test for own in _texts(block, study.documents)):
        if len(chosen) == documents:
            break
        if len(text.at) >= states:
            chosen.setdefault(group[number], text)
    return list(chosen.values())


def prompt_or_document(study: Study, *, tokens: int) -> Text:
    """The first `tokens` states of the prompt or, without one, of a test document (see `LONG`)."""
    if study.prompt is not None:
        return prompt_text(study, study.prompt).first(tokens)
    found = held_out_texts(study, documents=CANDIDATES)
    if not found:
        raise UsageError("no held-out document has a state: give a --prompt")
    long_enough = max(tokens, LONG)
    return max(found, key=lambda text: min(len(text.at), long_enough)).first(tokens)


def _texts(block: Trajectories, documents: Documents) -> Iterator[tuple[int, Text]]:
    """The document number of each path, and the document with its recorded states."""
    require_finite(block)
    times = block.times.expand(block.mask.shape)
    for row, seen in enumerate(block.mask):
        number = int(block.document[row])
        first, last = documents.offsets[number : number + 2].tolist()
        at = times[row][seen].round().long().cpu()
        states = block.states[row][seen].cpu()
        text = Text(f"test document {number}", documents.tokens[first:last], at, states)
        yield number, text


@dataclass(frozen=True, eq=False)
class Places:
    """States at single positions of texts, with the tokens up to each position."""

    tokens: Int[Tensor, "place time"]
    at: Int[Tensor, " place"]
    states: Float[Tensor, "place dim"]
    text: Int[Tensor, " place"]
    """Number of the text, the resampling unit of standard errors."""

    @classmethod
    def all_of(cls, text: Text) -> "Places":
        """All states of one text."""
        tokens = text.ids[None].expand(len(text.at), -1)
        return cls(tokens, text.at, text.states, torch.zeros_like(text.at))

    @classmethod
    def spread(cls, texts: list[Text], *, each: int, before_end: int = 0) -> "Places":
        """Up to `each` evenly spaced states of each text, without the last `before_end`."""
        longest = max(len(text.ids) for text in texts)
        rows = []
        for number, text in enumerate(texts):
            count = max(1, len(text.at) - before_end)
            chosen = torch.linspace(0, count - 1, min(each, count) + 2)[1:-1].round().long()
            ids = torch.nn.functional.pad(text.ids, (0, longest - len(text.ids)))
            own = torch.full_like(chosen, number)
            tokens = ids.expand(len(chosen), -1)
            rows.append((tokens, text.at[chosen], text.states[chosen], own))
        return cls(*(torch.cat(part) for part in zip(*rows, strict=True)))

    @property
    def times(self) -> Float[Tensor, " place"]:
        """Positions as times of the fit."""
        return self.at.to(self.states.dtype)

    def alone(self) -> "Places":
        """The same states with their own token only, for functions that ignore earlier tokens."""
        own = self.tokens.gather(1, self.at[:, None])
        return Places(own, torch.zeros_like(self.at), self.states, self.text)

    def word(self, ahead: int) -> Int[Tensor, " place"]:
        """The token `ahead` positions later; -1 after the end of the text."""
        index = self.at + ahead
        inside = index < self.tokens.shape[1]
        found = self.tokens.gather(1, index.clamp(max=self.tokens.shape[1] - 1)[:, None])[:, 0]
        return found.where(inside, -1)


def shortened(text: Text, context: int, steps: int) -> Text:
    """The text, shortened if necessary so that new tokens fit into the model's context.

    It is shortened if fewer than `steps`, and fewer than half the context, would remain.
    """
    wanted = min(steps, context // 2)
    if context - len(text.ids) >= wanted:
        return text
    return text.first(max(1, int((text.at < context - wanted).sum())))
