"""A tiny study on which any analyzer runs quickly."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

from sdelens.fitting.fit import fit_view
from sdelens.fitting.options import FitOptions
from sdelens.fitting.study import Study, Viewed
from sdelens.interfaces import load
from sdelens.paths.split import Split
from sdelens.paths.trajectories import (
    NO_TOKEN,
    Paths,
    Trajectories,
    Transitions,
    dt_of,
    shuffled,
)
from sdelens.seeds import generator
from sdelens.states.capturing import documents_of, record, sites_of
from sdelens.states.recording import View
from sdelens.testing.small_model import small_model

SIDES = Split(train=tuple(range(24)), validation=tuple(range(24, 30)), test=tuple(range(30, 42)))
PROBE = "heteroscedastic-linear"
PROMPT = "The cat sat on a mat."
WORDS = ("a", "bee", "cat", "dog", "fog", "is", "it", "man", "on", "red", "sea", "sun", "up")


@cache
def small_study(dtype: str = "float32", members: int = 0) -> Study:
    """Linear fits to both blocks of the small model, along 42 texts of different lengths."""
    model = small_model(dtype)
    documents = documents_of(model, [_text(number) for number in range(42)])
    captured = record(model, documents, sites_of("all", model), skip_first=1)
    views = {}
    for site in captured.sites:
        paths, view = captured.view(View(site)), View(site)
        fitted = fit_view(
            paths,
            SIDES,
            {number: number for number in range(len(documents))},
            load("probe", PROBE)(),
            FitOptions(ensemble=members),
            kind=PROBE,
        )
        fitted = replace(fitted, origin=captured.origin)
        views[view] = Viewed.of(fitted, Blocks(tuple(paths)), SIDES)
    return Study("small", views, documents, model)


def _text(number: int) -> str:
    """A few short words in two sentences; the last text is too short for a transition."""
    if number == SIDES.test[-1]:
        return "a"
    drawn = torch.randint(len(WORDS), (6 + number % 4,), generator=generator(number, "small"))
    words = [WORDS[place] for place in drawn.tolist()]
    return " ".join([*words[:3], "and", *words[3:-2]]) + ". " + " ".join(words[-2:])


@dataclass(frozen=True, eq=False)
class Blocks:
    """Paths in memory, in given blocks."""

    blocks: tuple[Trajectories, ...]

    def __iter__(self) -> Iterator[Trajectories]:
        return iter(self.blocks)

    def select(self, documents: Sequence[int]) -> "Blocks":
        """Select the paths of some documents."""
        kept = (block.select(documents) for block in self.blocks)
        return Blocks(tuple(block for block in kept if len(block.document)))

    def transitions(self, size: int, seed: int) -> Iterator[Transitions]:
        """Yield every transition once, shuffled."""
        return shuffled(self, size, seed)


def changed(study: Study, change: Callable[[Paths], Paths]) -> Study:
    """The study with modified paths and the same fits."""
    views = {
        view: replace(
            viewed,
            train=change(viewed.train),
            validation=change(viewed.validation),
            test=change(viewed.test),
        )
        for view, viewed in study.views.items()
    }
    return replace(study, views=views)


def in_small_blocks(paths: Paths, size: int = 5, extra: int = 4) -> Blocks:
    """The same paths in small blocks with more padding, filled with arbitrary values."""
    return Blocks(
        tuple(
            _padded(block.rows(rows), extra)
            for block in paths
            for rows in torch.split(torch.arange(len(block.document)), size)
        )
    )


def _padded(block: Trajectories, extra: int) -> Trajectories:
    def longer(value: Tensor, filling: int | float) -> Tensor:
        shape = (len(value), extra, *value.shape[2:])
        return torch.cat([value, value.new_full(shape, filling)], dim=1)

    mask, step = longer(block.mask, False), dt_of(block)
    ahead = block.times[:, -1:] + step * torch.arange(1, extra + 1)
    states = longer(block.states, 0.0)
    return replace(
        block,
        states=states.masked_fill(~mask[..., None], 9.0),
        mask=mask,
        times=torch.cat([block.times, ahead.to(block.times)], dim=1),
        tokens=longer(block.tokens, NO_TOKEN),
    )


def not_numbers(paths: Paths) -> Blocks:
    """The same paths with NaN in the second state of each path."""

    def spoilt(block: Trajectories) -> Trajectories:
        states = block.states.clone()
        states[:, 1] = torch.nan
        return replace(block, states=states)

    return Blocks(tuple(map(spoilt, paths)))
