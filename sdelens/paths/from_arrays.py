"""Paths from arrays: a tensor, a numpy array, or a list of paths of unequal length."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.wording import counted

States = Tensor | ndarray | Sequence[Any]
"""States [path, time, dim], or one array [time, dim] for each path."""
LARGEST = 1e35
"""Size beyond which a basis in float32 overflows (its maximum is 3.4e38).

Arrays may be in any unit, so only what a fit cannot compute with is refused: the basis
standardises them, in float64, before anything is squared. States of a language model have a
tighter bound (`sdelens.states.requirements`), because raw ones are squared too.
"""
EXPECTED = "states must be [path, time, dim], or a list of paths [time, dim]"


@dataclass(frozen=True, eq=False)
class GivenPaths:
    """Paths built from arrays, with sentences on what was missing in them."""

    paths: Trajectories
    notes: tuple[str, ...]

    @classmethod
    def of(cls, states: States, dt: float) -> "GivenPaths":
        """Paths observed every `dt` from time 0; path i of the array is document i.

        A state that contains NaN is missing: at the end the path is shorter, inside it the path
        has a gap, over which no transition is counted. Paths of a list are padded to the longest.
        Raises `UsageError` for another shape, or if a coordinate is always NaN, and `BadNumbers`
        for infinity and numbers beyond `LARGEST`.
        """
        every, lengths = _padded(states)
        inside = torch.arange(every.shape[1], device=every.device) < lengths[:, None]
        lacking = every.isnan().any(-1) & inside
        _require_known_coordinates(every, inside)
        _require_moderate(every, inside & ~lacking, dt)
        block = Trajectories.from_states(every.where(~lacking[..., None], 0.0), dt)
        return cls(replace(block, mask=inside & ~lacking), tuple(_notes(inside, lacking)))


def _padded(states: States) -> tuple[Float[Tensor, "path time dim"], Tensor]:
    """One float array, zero after the end of each path, and the length of each path."""
    if isinstance(states, Tensor) or (isinstance(states, ndarray) and states.dtype != object):
        one = _numbers(states)
        if one.ndim != 3 or one.shape[-1] == 0:
            raise UsageError(
                f"{EXPECTED}, got an array of shape {tuple(one.shape)}: add the axis of the "
                "coordinates with states[..., None], or split one long path into several with "
                "states.reshape(100, -1, dim)"
            )
        return one, torch.full(one.shape[:1], one.shape[1], device=one.device)
    if isinstance(states, str | Mapping) or not hasattr(states, "__len__"):
        raise UsageError(f"{EXPECTED}, got {type(states).__name__}")
    paths = _alike([_numbers(path) for path in states])
    lengths = torch.tensor([len(path) for path in paths], device=paths[0].device)
    return pad_sequence(paths, batch_first=True), lengths


def _alike(paths: list[Tensor]) -> list[Tensor]:
    """Paths of one width and one float type; an empty path may have any shape."""
    seen = [path for path in paths if path.numel()]
    if not seen:
        raise UsageError(f"{EXPECTED}, got {counted(len(paths), 'path')} without a state")
    for number, path in enumerate(paths):
        if path.numel() and (path.ndim != 2 or path.shape[1] != seen[0].shape[-1]):
            raise UsageError(
                f"{EXPECTED}, all with the same coordinates, got path {number} of shape "
                f"{tuple(path.shape)} beside one of shape {tuple(seen[0].shape)}: one coordinate "
                "is path[:, None]"
            )
    dtype = torch.float64 if any(p.dtype == torch.float64 for p in seen) else torch.float32
    empty = seen[0].new_zeros(0, seen[0].shape[1], dtype=dtype)
    return [path.to(empty) if path.numel() else empty for path in paths]


def _numbers(values: object) -> Tensor:
    """An array as floats: float32, or float64 if it has more digits."""
    try:
        found = (values if isinstance(values, Tensor) else _tensor(values)).detach()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UsageError(f"{EXPECTED}, got {type(values).__name__} ({error})") from None
    if found.is_complex() or found.dtype == torch.bool:
        raise UsageError(f"{EXPECTED} of real numbers, got {found.dtype}")
    narrow = found.is_floating_point() and found.dtype != torch.float64
    return found.float() if narrow else found.double()


def _tensor(values: object) -> Tensor:
    """An array as a tensor; masked values are NaN."""
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(float), np.nan)
    array = np.asarray(values)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(np.array(native, order="C"))


def _require_known_coordinates(every: Tensor, inside: Tensor) -> None:
    blank = (every.isnan() | ~inside[..., None]).flatten(0, 1).all(0)
    if blank.any() and not blank.all():
        names = ", ".join(map(str, blank.nonzero()[:, 0].tolist()))
        raise UsageError(
            f"a state counts as missing if a coordinate is NaN, but coordinates {names} (from 0) "
            "are NaN in every state: remove them"
        )


def _require_moderate(every: Tensor, known: Tensor, dt: float) -> None:
    """Raise `BadNumbers` naming the first infinite or very large number."""
    bad = (every.abs() > LARGEST) & known[..., None]
    if bad.any():
        path, time, coordinate = bad.nonzero()[0].tolist()
        raise BadNumbers(
            f"states must be finite and at most {LARGEST:g} in size, but path {path} has "
            f"{float(every[path, time, coordinate]):.3g} at time {time * dt:g} (observation "
            f"{time}), coordinate {coordinate}, the first of {counted(int(bad.sum()), 'number')}: "
            "write NaN for a missing state, or use another unit"
        )


def _notes(inside: Tensor, lacking: Tensor) -> list[str]:
    """Sentences on states with NaN, and on paths without a transition."""
    known = inside & ~lacking
    later = known.flip(-1).cumsum(-1).flip(-1) > 0
    gaps = lacking & later & (known.cumsum(-1) > 0)
    notes = []
    if count := int(gaps.sum()):
        paths = counted(int(gaps.any(-1).sum()), "path")
        verb, them = ("counts", "it") if count == 1 else ("count", "them")
        notes.append(
            f"{counted(count, 'state')} with NaN inside {paths} {verb} as missing: no transition "
            f"or lag uses {them}."
        )
    lost = int((~(known[:, :-1] & known[:, 1:]).any(-1)).sum())
    if lost:
        notes.append(
            f"{lost:,} of {counted(len(known), 'path')} without two consecutive states left out."
        )
    return notes


def document_groups(paths: Paths) -> dict[int, int]:
    """The group of each document with a transition: the first document with the same states.

    A copy of a path is not another sample; paths that never move may be equal by chance. Raises
    `UsageError` if no document has a transition.
    """
    first: dict[int, int] = {}
    groups = {}
    for block in paths:
        for row in block.steps.any(1).nonzero()[:, 0].tolist():
            document = int(block.document[row])
            seen = block.states[row][block.mask[row]].cpu().contiguous()
            moves = bool((seen != seen[0]).any())
            key = hash(seen.numpy().tobytes()) if moves else document
            groups[document] = first.setdefault(key, document)
    if not groups:
        raise UsageError(
            f"{EXPECTED} with at least two consecutive states in a path, got none: give longer "
            "paths"
        )
    return groups
