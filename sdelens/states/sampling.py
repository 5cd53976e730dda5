"""Texts sampled from the model token by token, with its key-value cache."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.containment.contained import contained
from sdelens.errors import BadNumbers, BrokenPlugin, OutOfMemory, UsageError
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel, SamplingSource, Source
from sdelens.seeds import generator

BATCH = 128
"""Rows sampled together: a fixed number, so that texts depend only on the seed."""


LEAST = 1e-6
"""Smallest temperature: logits overflow beyond it."""


@dataclass(frozen=True)
class Sampler:
    """Sampling of the next token: temperature and nucleus."""

    temperature: float = 1.0
    top_p: float = 1.0
    ignore_eos: bool = False
    """Exclude the end-of-text token, so that every text reaches the full length."""

    def __post_init__(self) -> None:
        if not LEAST <= self.temperature < math.inf:
            raise UsageError(
                f"temperature must be above 0, at least {LEAST} and finite, got {self.temperature}"
            )
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top-p must be above 0 and at most 1, got {self.top_p}")

    def probabilities(
        self, logits: Float[Tensor, "*batch vocabulary"], eos: int | None
    ) -> Float[Tensor, "*batch vocabulary"]:
        """Probabilities of the next token.

        Nucleus sampling keeps the smallest set of most likely tokens with total probability
        `top_p` (Holtzman et al. 2020); the most likely token is always kept.
        """
        logits = logits.float() / self.temperature
        if self.ignore_eos and eos is not None:
            logits = logits.index_fill(-1, torch.tensor(eos, device=logits.device), -torch.inf)
        law = logits.softmax(-1)
        if self.top_p == 1:
            return law
        ordered, index = law.sort(-1, descending=True)
        outside = ordered.cumsum(-1) - ordered >= self.top_p
        outside[..., 0] = False  # a tiny `top_p` is 0 in single precision
        kept = torch.zeros_like(law).scatter(-1, index, ordered.masked_fill(outside, 0))
        return kept / kept.sum(-1, keepdim=True)


def sampler_of(source: Source) -> Sampler | None:
    """How a source samples its texts from the model; None for texts of any other source."""
    if not isinstance(source, SamplingSource):
        return None
    with contained(f"the source {type(source).__name__}"):
        sampler = source.sampling_settings()
    if not isinstance(sampler, Sampler):
        raise BrokenPlugin(
            f"sampling_settings() of the source {type(source).__name__} must return a "
            f"sdelens.states.sampling.Sampler, got {sampler!r}: return one, or rename the method"
        )
    return sampler


@torch.no_grad()
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
    card = model.card
    start = card.bos if card.bos is not None else card.eos
    if start is None:
        raise UsageError(f"{card.name} has no BOS or EOS token to start a text: give --texts")
    steps = min(length, card.context - 1)
    for first in range(0, documents, BATCH):
        rows = min(BATCH, documents - first)
        random = generator(seed, "sample", first)
        drawn = _draw(model, sampler, start, rows, steps, random, watch)
        yield from (Document((start, *_until(row, card.eos))) for row in drawn.tolist())


def _draw(
    model: LanguageModel,
    sampler: Sampler,
    start: int,
    rows: int,
    steps: int,
    random: torch.Generator,
    watch: Callable[[int], None],
) -> Int[Tensor, "row step"]:
    """Rows of `steps` tokens; tokens after a row's EOS are to be ignored."""
    token = torch.full((rows, 1), start)
    ended = torch.zeros(rows, dtype=torch.bool)
    past: Any = None
    columns: list[Tensor] = []
    for _ in range(steps):
        try:
            out = model.run(token, past=past, keep=True, logits=True)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise OutOfMemory(
                f"memory ran out after sampling {len(columns)} tokens of {rows} texts together: "
                "give a smaller length (--length), --dtype bfloat16, or your own --texts"
            ) from error
        law = sampler.probabilities(out.required_logits[:, -1], model.card.eos).cpu()
        if not law.isfinite().all():
            raise BadNumbers(
                f"logits must be finite, but after {len(columns)} tokens those of "
                f"{model.card.name} are not: use --dtype float32, or another model"
            )
        token = torch.multinomial(law, 1, generator=random)
        columns.append(token)
        past = out.past
        watch(int((~ended).sum()))
        ended |= token[:, 0] == model.card.eos
        if ended.all():
            break
    return torch.cat(columns, dim=1)


def _until(ids: list[int], eos: int | None) -> list[int]:
    """The ids up to and including the first EOS."""
    return ids[: ids.index(eos) + 1] if eos in ids else ids


def uniforms(
    numbers: Int[Tensor, " text"], shape: Sequence[int], seed: int, label: str
) -> Float[Tensor, "text *shape"]:
    """Uniform numbers that depend only on a text's number, not on the rest of its batch."""
    each = (
        torch.rand(*shape, generator=generator(seed, label, number), dtype=torch.float64)
        for number in numbers.tolist()
    )
    return torch.stack(list(each))


def inverse_cdf(
    law: Float[Tensor, "*batch vocabulary"], uniform: Float[Tensor, "*batch draw"]
) -> Int[Tensor, "*batch draw"]:
    """Invert the distribution function of unnormalised laws; never a token of probability 0."""
    heights = law.cumsum(-1)
    found = torch.searchsorted(heights, uniform * heights[..., -1:], right=True)
    return found.clamp(max=law.shape[-1] - 1)
