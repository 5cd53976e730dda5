"""From the law of one step to the linear SDE that has it, for peers that know steps alone."""

import numpy as np
from scipy.linalg import logm, solve_discrete_lyapunov
from worker import linear

logm(np.eye(2))  # it reads further modules on its first call: no part of a fit


def exact(step, offset, covariance, dt):
    """The linear SDE with this law of one step: X' = step X + offset, and a Gaussian residual.

    The rate A is a logarithm; the covariance a per unit of time and the residuals' S satisfy
    A S + S A' = step a step' - a, a discrete Lyapunov equation for a.
    """
    rate = logm(step).real / dt
    unit = solve_discrete_lyapunov(step, -(rate @ covariance + covariance @ rate.T))
    level = np.linalg.solve(step - np.eye(len(step)), offset)
    return linear(rate, rate @ level, unit)
