"""Split of documents into training, validation and test sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.seeds import generator

LEAST = 10
"""Minimum number of groups of documents for a split into 80, 10 and 10%."""


@dataclass(frozen=True)
class Split:
    """Numbers of the documents in each set; all documents of a group are in the same set."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def split(groups: Sequence[int], *, seed: int) -> Split:
    """Split documents 80/10/10 by group.

    `groups[i]` is the group of document i, for example all responses to one prompt.
    """
    names = torch.tensor(sorted(set(groups)))
    require_enough(len(names))
    order = names[torch.randperm(len(names), generator=generator(seed, "split"))].tolist()
    tenth = max(1, round(len(order) / 10))
    test, validation = set(order[:tenth]), set(order[tenth : 2 * tenth])
    sides: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for document, group in enumerate(groups):
        side = "test" if group in test else "validation" if group in validation else "train"
        sides[side].append(document)
    return Split(*(tuple(sides[side]) for side in ("train", "validation", "test")))


def require_enough(groups: int) -> None:
    """Raise `UsageError` unless there are enough groups of documents for a split."""
    if groups < LEAST:
        raise UsageError(
            f"at least {LEAST} documents (or prompts) are needed, so that some can be held out, "
            f"got {groups}, counting near-duplicates once: use more texts, or cut one long path "
            "into several"
        )


def split_by_group(groups: Mapping[int, int], *, seed: int) -> Split:
    """Split document numbers 80/10/10 by the group of each."""
    documents = list(groups)
    sides = split(list(groups.values()), seed=seed)
    return Split(*(tuple(documents[i] for i in side) for side in vars(sides).values()))


def prefix_keys(tokens: Int[Tensor, "path time"]) -> Int[Tensor, "path time"]:
    """A 64-bit key of each prefix ``tokens[:, : j + 1]``; equal prefixes have equal keys.

    A key is the sum of a random number per (position, token), as in Zobrist hashing, so one
    cumulative sum gives the keys of all prefixes.
    """
    position = torch.arange(tokens.shape[1])
    return _mixed(tokens.long() * 1_000_003 + position).cumsum(-1)


def _mixed(value: Int[Tensor, "path time"]) -> Int[Tensor, "path time"]:
    """The splitmix64 finaliser, in wrapping 64-bit arithmetic."""
    value = value * -7046029254386353131
    value = (value ^ ((value >> 30) & (2**34 - 1))) * -4658895280553007687
    value = (value ^ ((value >> 27) & (2**37 - 1))) * -7723592293110705685
    return value ^ ((value >> 31) & (2**33 - 1))


def first_new(
    tokens: Int[Tensor, "path time"], train: Sequence[int], chosen: Sequence[int]
) -> dict[int, int]:
    """First position of each chosen document whose prefix occurs in no training document.

    Rows of `tokens` are documents from the start of their context, padded with -1. If a prefix
    occurs in training, so do all shorter ones, so the rest of a path is contiguous.
    """
    keys = prefix_keys(tokens)
    seen = torch.isin(keys[list(chosen)], torch.unique(keys[list(train)]))
    return dict(zip(chosen, seen.long().cumprod(-1).sum(-1).tolist(), strict=True))
