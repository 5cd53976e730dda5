"""deeptime: the Koopman operator on monomials by extended dynamic mode decomposition."""

import numpy as np
from deeptime.basis import Monomials
from deeptime.decomposition import EDMD
from one_step import exact
from scipy.linalg import logm
from worker import work


def autoregression(states, dt, degree):
    """Vector autoregression (monomials of degree 1) and the logarithm of its step matrix."""
    states = states.astype(float)
    dim = states.shape[1]
    basis, operator = _operator(states, 1)
    one, x = _places(basis, dim)
    step, offset = operator[np.ix_(x, x)].T, operator[one, x]
    residual = states[1:] - states[:-1] @ step.T - offset
    return exact(step, offset, residual.T @ residual / len(residual), dt)


def generator(states, dt, degree):
    """Generator L = log K / dt: drift L x, covariance L(x x') - x (Lx)' - (Lx) x'."""
    states = states.astype(float)
    dim = states.shape[1]
    closed = 2 if degree == 1 else 7 if dim == 1 else 3
    basis, operator = _operator(states, closed)
    rate = logm(operator).real / dt
    _, x = _places(basis, dim)
    pairs = _pairs(basis, dim)

    def fitted(points):
        slopes = basis(points.astype(float)) @ rate
        drift = slopes[:, x]
        mixed = points[:, :, None] * drift[:, None]
        return drift, slopes[:, pairs] - mixed - mixed.transpose(0, 2, 1)

    return fitted


def _operator(states, degree):
    basis = Monomials(p=degree, d=states.shape[1])
    model = EDMD(basis).fit((states[:-1], states[1:])).fetch_model()
    return basis, model.operator


def _places(basis, dim):
    """Indices of the constant and of the coordinates among the monomials."""
    probes = np.concatenate([np.zeros((1, dim)), 2.0 * np.eye(dim)])
    values = basis(probes)
    one = int(np.flatnonzero(values[0])[0])
    rows = np.arange(1, dim + 1)
    hits = (values[rows] == 2) & (values[rows].sum(0) == 2)
    return one, hits.argmax(1)


def _pairs(basis, dim):
    """Indices of the monomials x_i x_j, from their distinct values at a point of primes."""
    primes = [n for n in range(2, 100) if all(n % k for k in range(2, n))][:dim]
    point = np.array([primes], dtype=float)
    wanted = point.T * point
    return np.abs(basis(point)[0] - wanted[..., None]).argmin(-1)


if __name__ == "__main__":
    work("deeptime", {"VAR": autoregression, "Koopman generator": generator})
