"""NumPy: normal equations in float64, and SciPy's matrix logarithm."""

import numpy as np
from one_step import exact
from worker import work


def normal_equations(states, dt, degree):
    """Least squares with an intercept; the residual covariance comes from the same products."""
    states = states.astype(float)
    x = np.column_stack([states[:-1], np.ones(len(states) - 1)])
    y = states[1:]
    cross = x.T @ y
    solution = np.linalg.solve(x.T @ x, cross)
    covariance = (y.T @ y - solution.T @ cross) / len(y)
    return exact(solution[:-1].T, solution[-1], covariance, dt)


if __name__ == "__main__":
    work("numpy", {"normal equations": normal_equations})
