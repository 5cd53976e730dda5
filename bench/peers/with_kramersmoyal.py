"""kramersmoyal: conditional moments on a grid, with default bins and bandwidth."""

from itertools import combinations_with_replacement

import numpy as np
from kramersmoyal import km
from worker import work


def moments(states, dt, degree):
    """First and second conditional moments, read at the nearest node with data."""
    dim = states.shape[1]
    one = np.eye(dim, dtype=int)
    pairs = list(combinations_with_replacement(range(dim), 2))
    powers = np.array([0 * one[0], *one, *(one[i] + one[j] for i, j in pairs)])
    kernel, edges = km(states.astype(float), powers=powers)
    seen = kernel[0] > 0.01 * kernel[0].max()
    nodes = np.stack(np.meshgrid(*edges, indexing="ij"), -1)[seen]
    first = kernel[1 : dim + 1][:, seen].T / dt
    second = np.empty((len(nodes), dim, dim))
    for (i, j), found in zip(pairs, kernel[dim + 1 :][:, seen], strict=True):
        # km divides by the factorials of the powers: 2 for a square, 1 for a product
        second[:, i, j] = second[:, j, i] = found * (2 if i == j else 1) / dt

    def fitted(points):
        nearest = np.array([np.square(nodes - p).sum(1).argmin() for p in points])
        return first[nearest], second[nearest]

    return fitted


if __name__ == "__main__":
    work("kramersmoyal", {"kernel": moments})
