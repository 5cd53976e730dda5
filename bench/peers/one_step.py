"""The linear SDE with a given one-step law, for tools that fit discrete steps only."""

import numpy as np
from scipy.linalg import logm, solve_discrete_lyapunov
from worker import linear

logm(np.eye(2))  # its first call imports modules, which is not part of a fit


def exact(step, offset, covariance, dt):
    """Linear SDE whose one-step law is X' = step X + offset with a Gaussian residual.

    The rate A is the matrix logarithm of `step` per unit of time. The covariance a per unit of
    time and the residual covariance S satisfy A S + S A' = step a step' - a, a discrete Lyapunov
    equation for a.
    """
    rate = logm(step).real / dt
    unit = solve_discrete_lyapunov(step, -(rate @ covariance + covariance @ rate.T))
    level = np.linalg.solve(step - np.eye(len(step)), offset)
    return linear(rate, rate @ level, unit)
