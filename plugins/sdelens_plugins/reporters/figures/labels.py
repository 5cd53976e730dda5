"""Places words beside points so that they overlap little."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from einops import repeat
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
"""``[box, 4]``: left, bottom, right, top."""
GAPS = (3.0, 9.0, 18.0, 30.0)
"""Distances between a word and its point that are tried."""
OUTSIDE = 100.0
"""The cost of an area outside the frame, in areas that overlap."""
EVERYWHERE = np.array([-np.inf, -np.inf, np.inf, np.inf])
DIRECTIONS = (
    *((1, 0.5), (-1, 0.5), (0, 1), (0, -1)),
    *((1, -0.8), (-1, -0.8), (0.6, 1), (-0.6, 1)),
)


def place_labels(
    points: NDArray[np.float64],
    sizes: Sequence[tuple[float, float]],
    frame: NDArray[np.float64] = EVERYWHERE,
) -> Boxes:
    """A box for each word near its point, chosen greedily to overlap least with earlier boxes.

    Points, sizes and `frame`, a box that words should not leave, have the same unit, that of the
    screen. Distance from the point adds to the cost, so that words stay close where there is room.
    """
    occupied: Boxes = np.concatenate([points - 1.5, points + 1.5], axis=1)
    boxes = []
    for (x, y), (width, height) in zip(points, sizes, strict=True):
        centres = [
            (x + dx * (width / 2 + gap), y + dy * (height / 2 + gap))
            for gap, (dx, dy) in product(GAPS, DIRECTIONS)
        ]
        options = np.array(
            [(a - width / 2, b - height / 2, a + width / 2, b + height / 2) for a, b in centres]
        )
        gaps = repeat(np.array(GAPS), "gap -> (gap direction)", direction=len(DIRECTIONS))
        cost = overlap(options, occupied).sum(1) + gaps * height * 0.15
        cost += OUTSIDE * (width * height - overlap(options, frame[None])[:, 0])
        best = options[int(cost.argmin())]
        boxes.append(best)
        occupied = np.concatenate([occupied, best[None]])
    return np.array(boxes).reshape(-1, 4)


def overlap(first: Boxes, second: Boxes) -> NDArray[np.float64]:
    """The area that each pair of boxes shares, ``[first, second]``."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    area: NDArray[np.float64] = (high - low).clip(min=0).prod(-1)
    return area
