"""Words beside points, placed so that few of them overlap."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""``[box, 4]``: left, bottom, right, top."""

_AROUND = ((1, 0.5), (-1, 0.5), (0, 1), (0, -1), (1, -0.8), (-1, -0.8), (0.6, 1), (-0.6, 1))


def placed(points: NDArray[np.float64], sizes: Sequence[tuple[float, float]]) -> Boxes:
    """A box for each word, near its point: greedily, where it covers least of what is there.

    Points and sizes are in the same unit, that of the screen. A place further away must pay for
    its distance, so that words stay where they belong when there is room.
    """
    reach = [3.0, 9.0, 18.0, 30.0]
    taken: Boxes = np.concatenate([points - 1.5, points + 1.5], axis=1)
    found = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        centres = [
            (x + dx * (width / 2 + gap), y + dy * (height / 2 + gap))
            for gap, (dx, dy) in product(reach, _AROUND)
        ]
        options = np.array(
            [(a - width / 2, b - height / 2, a + width / 2, b + height / 2) for a, b in centres]
        )
        gaps = np.repeat(reach, len(_AROUND))
        cost = overlap(options, taken).sum(1) + gaps * height * 0.15
        best = options[int(cost.argmin())]
        found.append(best)
        taken = np.concatenate([taken, best[None]])
    return np.array(found).reshape(-1, 4)


def overlap(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """The area that each pair of boxes shares, ``[first, second]``."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared: NDArray[np.float64] = (high - low).clip(min=0).prod(-1)
    return shared
