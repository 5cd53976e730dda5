"""Texts that the model continues token by token, with its key-value cache."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import BadNumbers, OutOfMemory, UsageError, ran_out
from sdelens.model_protocols import PaddedModel
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel, Pass
from sdelens.seeds import generator
from sdelens.states.padding import left_padded, pads
from sdelens.states.sampling import Sampler

BATCH = 128
"""Largest number of texts that are continued together."""
CACHED = 2**15
"""Largest number of tokens in the key-value cache of a batch."""
WINDOW = 4 * BATCH
"""Prompts that are sorted by length, so that batches need little padding."""
DRAWS = "sample"
"""Seed label of the random numbers that draw tokens."""


def sample(
    model: LanguageModel,
    sampler: Sampler,
    *,
    documents: int,
    length: int,
    seed: int,
    watch: Callable[[int], None] = lambda _: None,
) -> Iterator[Document]:
    """Sample texts of up to `length` tokens after BOS, ended by EOS or by the context.

    Texts that end early are kept, so that there is no selection by length.
    """
    start = model.card.bos if model.card.bos is not None else model.card.eos
    if start is None:
        raise UsageError(
            f"{model.card.name} has no BOS or EOS token to start a text: give --prompts or --texts"
        )
    prompts = [Document((start,))] * documents
    return continue_texts(model, sampler, prompts, length=length, seed=seed, watch=watch)


@torch.no_grad()
def continue_texts(
    model: LanguageModel,
    sampler: Sampler,
    prompts: Sequence[Document],
    *,
    length: int,
    seed: int,
    watch: Callable[[int], None] = lambda _: None,
) -> Iterator[Document]:
    """Each prompt followed by up to `length` sampled tokens, ended by EOS or by the context.

    The path of a document starts at the last token of its prompt, the state from which the first
    token is sampled. The draws of a text depend only on the seed and its number, and its law, up
    to rounding, only on its own tokens; batches are as large as memory allows. `watch` receives
    the number of tokens sampled in each step.
    """
    paddable: bool | None = None  # not tested yet
    for first in range(0, len(prompts), WINDOW):
        window = [prompt.tokens for prompt in prompts[first : first + WINDOW]]
        steps = [min(length, model.card.context - len(ids)) for ids in window]
        if paddable is None and len({*map(len, window)}) > 1:
            paddable = pads(model, window)
        answers: list[list[int]] = [[] for _ in window]
        for rows in _batches(window, max(steps), padded=bool(paddable)):
            texts = [OpenText(first + row, window[row], steps[row]) for row in rows]
            batch = Continuation(model, sampler, texts, seed)
            for row, answer in zip(rows, batch.answers(watch), strict=True):
                answers[row] = answer
        for prompt, answer in zip(prompts[first : first + WINDOW], answers, strict=True):
            start = max(0, len(prompt.tokens) - 1)
            yield replace(prompt, tokens=(*prompt.tokens, *answer), start=start)


def _batches(prompts: Sequence[Sequence[int]], steps: int, *, padded: bool) -> Iterator[list[int]]:
    """Rows that are continued together, shortest first; of equal length if not `padded`."""
    batch: list[int] = []
    for row in sorted(range(len(prompts)), key=lambda row: len(prompts[row])):
        longest = len(prompts[row]) + steps
        full = len(batch) == BATCH or (len(batch) + 1) * longest > CACHED
        other = not padded and batch and len(prompts[batch[0]]) < len(prompts[row])
        if batch and (full or other):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@dataclass(frozen=True)
class OpenText:
    """A prompt to continue."""

    number: int
    """Determines its random numbers, together with the seed."""
    prompt: Sequence[int]
    steps: int
    """Largest number of new tokens."""


@dataclass(frozen=True, eq=False)
class Continuation:
    """Prompts that are continued together."""

    model: LanguageModel
    sampler: Sampler
    texts: Sequence[OpenText]
    seed: int

    def answers(self, watch: Callable[[int], None]) -> list[list[int]]:
        """The new tokens of each text; halves the batch if memory runs out."""
        try:
            return self._answers(watch)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
            if len(self.texts) == 1:
                raise OutOfMemory(
                    f"memory ran out while one text was sampled after {len(self.texts[0].prompt)} "
                    "tokens: give a smaller --length, --dtype bfloat16, or your own --texts"
                ) from error
        half = len(self.texts) // 2
        parts = (replace(self, texts=own) for own in (self.texts[:half], self.texts[half:]))
        return [answer for part in parts for answer in part.answers(watch)]

    def _answers(self, watch: Callable[[int], None]) -> list[list[int]]:
        answers: list[list[int]] = [[] for _ in self.texts]
        random = [generator(self.seed, DRAWS, text.number) for text in self.texts]
        rows, ids = torch.arange(len(answers)), left_padded([text.prompt for text in self.texts])
        padding, new, past = ids.lt(0).sum(1), ids.clamp(min=0), None
        while True:
            open_ = torch.tensor([self._open(row, answers[row]) for row in rows.tolist()])
            if not open_.any():
                return answers
            if isinstance(self.model, PaddedModel) and past and 2 * int(open_.sum()) <= len(rows):
                kept = open_.nonzero()[:, 0]
                past = self.model.select_rows(past, kept)
                rows, ids, new, padding = rows[kept], ids[kept], new[kept], padding[kept]
                open_ = open_[kept]
            out = self._pass(new, padding, past)
            past, law = out.past, self._law(out, ids)
            new = torch.stack(
                [draw(own, random[row]) for own, row in zip(law, rows.tolist(), strict=True)]
            )[:, None]
            ids = torch.cat([ids, new], dim=1)
            for row, token in zip(rows[open_].tolist(), new[open_, 0].tolist(), strict=True):
                answers[row].append(token)
            watch(int(open_.sum()))

    def _open(self, row: int, answer: Sequence[int]) -> bool:
        """Whether a text goes on."""
        ended = bool(answer) and answer[-1] in self.model.card.ends
        return not ended and len(answer) < self.texts[row].steps

    def _pass(self, tokens: Tensor, padding: Int[Tensor, " row"], past: Any) -> Pass:
        if isinstance(self.model, PaddedModel) and padding.any():
            return self.model.run_padded(tokens, padding=padding, past=past)
        return self.model.run(tokens, past=past, keep=True, logits=True)

    def _law(self, out: Pass, ids: Int[Tensor, "row time"]) -> Float[Tensor, "row vocabulary"]:
        """The law of the next token of each text, on the CPU."""
        last = torch.tensor([ids.shape[1] - 1])
        law = self.sampler.law(out.required_logits[:, -1:], ids, last, self.model.card.ends)
        law = law[:, 0].cpu()
        if not law.isfinite().all():
            raise BadNumbers(
                f"logits must be finite, but those of {self.model.card.name} are not: use --dtype "
                "float32, or another model"
            )
        return law


def draw(law: Float[Tensor, " vocabulary"], random: torch.Generator) -> Int[Tensor, ""]:
    """A token, as the first of exponential clocks with the probabilities as rates.

    Rounding of the law, which depends on the batch, then changes a draw only where two clocks
    agree to rounding; an inverted distribution function would change many draws of rare tokens.
    """
    return (law / torch.empty_like(law).exponential_(generator=random)).argmax()
