"""Texts with their states: what a language model can be run on again, states replaced."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.prompt import prompted
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Trajectories, require_finite
from sdelens.protocols import LanguageModel


@dataclass(frozen=True, eq=False)
class Text:
    """All token ids of one context, and the states recorded at some of its positions."""

    name: str
    ids: Int[Tensor, " token"]
    at: Int[Tensor, " time"]
    """Positions in `ids`, in order."""
    states: Float[Tensor, "time dim"]

    @property
    def times(self) -> Float[Tensor, " time"]:
        """Positions, as the fit counts time."""
        return self.at.to(self.states.dtype)

    @property
    def tokens(self) -> Int[Tensor, " time"]:
        """The token after which each state was read."""
        return self.ids[self.at]

    def first(self, count: int) -> "Text":
        """Its first states, and the ids up to the last of them."""
        at = self.at[:count]
        return Text(self.name, self.ids[: int(at[-1]) + 1], at, self.states[:count])


def model_of(study: Study) -> LanguageModel:
    """The model of a study; an error where it has none."""
    if study.model is None:
        raise UsageError(
            "words need the language model that the run was made with, but there is none: open "
            "the run with it, or ask an analyzer that does without"
        )
    return study.model


def of_prompt(study: Study, prompt: str) -> Text:
    """A prompt with its states at the view's site, captured as the run's were."""
    view, _ = study.single
    found = prompted(study, prompt, states=1)
    ((_, text),) = _texts(next(iter(found.paths[view])), found.document)
    return replace(text, name="the prompt")


def held_out(study: Study, *, documents: int, states: int = 1) -> list[Text]:
    """The first test documents with at least so many states, one of each group.

    Responses to one prompt are a group, and no independent observations.
    """
    _, viewed = study.single
    group, chosen = study.documents.group.tolist(), dict[int, Text]()
    for number, text in (own for block in viewed.test for own in _texts(block, study.documents)):
        if len(chosen) == documents:
            break
        if len(text.at) >= states:
            chosen.setdefault(group[number], text)
    return list(chosen.values())


def asked(study: Study, *, tokens: int) -> Text:
    """The prompt, or else the first test document that is long enough or else the longest.

    Its first `tokens` states.
    """
    if study.prompt is not None:
        return of_prompt(study, study.prompt).first(tokens)
    found = held_out(study, documents=64)
    if not found:
        raise UsageError("there is no held-out document with a state: give a prompt")
    return max(found, key=lambda text: min(len(text.at), tokens)).first(tokens)


def _texts(block: Trajectories, documents: Documents) -> Iterator[tuple[int, Text]]:
    """The document of each path, and its observed states beside the text from its start."""
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
    """States at single positions of texts, with the tokens up to there."""

    tokens: Int[Tensor, "place time"]
    at: Int[Tensor, " place"]
    states: Float[Tensor, "place dim"]
    text: Int[Tensor, " place"]
    """Which of the texts: the unit of errors."""

    @classmethod
    def all_of(cls, text: Text) -> "Places":
        """Every state of one text."""
        tokens = text.ids[None].expand(len(text.at), -1)
        return cls(tokens, text.at, text.states, torch.zeros_like(text.at))

    @classmethod
    def spread(cls, texts: list[Text], *, each: int, before_end: int = 0) -> "Places":
        """Up to `each` states of each text, evenly spaced, none among the last `before_end`."""
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
        """Positions, as the fit counts time."""
        return self.at.to(self.states.dtype)

    def alone(self) -> "Places":
        """The same states after their own token only: where nothing looks back, it is enough."""
        own = self.tokens.gather(1, self.at[:, None])
        return Places(own, torch.zeros_like(self.at), self.states, self.text)

    def word(self, ahead: int) -> Int[Tensor, " place"]:
        """The token so many positions later; -1 where the text has ended."""
        index = self.at + ahead
        inside = index < self.tokens.shape[1]
        found = self.tokens.gather(1, index.clamp(max=self.tokens.shape[1] - 1)[:, None])[:, 0]
        return found.where(inside, -1)


def with_room(text: Text, context: int, steps: int) -> Text:
    """The text, or so much of its beginning that words fit after it into the model's context.

    It is cut where fewer than `steps`, and fewer than half the context, are left.
    """
    wanted = min(steps, context // 2)
    if context - len(text.ids) >= wanted:
        return text
    return text.first(max(1, int((text.at < context - wanted).sum())))
