"""Stochastic Force Inference: linear and parametric estimators."""

import logging

import jax
import numpy as np
from SFI import OverdampedLangevinInference, TrajectoryCollection
from SFI.bases import monomials_up_to
from worker import work

logging.disable(logging.INFO)


def linear(states, dt, degree):
    """Closed-form estimators with automatic conventions, as its guide begins."""
    inference, basis, quadratic = _start(states, dt, degree)
    inference.compute_diffusion_constant()
    inference.infer_force_linear(basis)
    if quadratic is not None:
        inference.infer_diffusion_linear(quadratic)
    return _fitted(inference, states.shape[1])


def parametric(states, dt, degree):
    """Estimators for coarse sampling: Runge-Kutta flow without measurement noise (eiv=False)."""
    inference, basis, quadratic = _start(states, dt, degree)
    inference.infer_force(basis, Lambda=np.zeros((states.shape[1],) * 2), eiv=False)
    if quadratic is not None:
        inference.infer_diffusion(quadratic)
    return _fitted(inference, states.shape[1])


def _start(states, dt, degree):
    """Inference, monomials for the force and, for nonlinear drifts, for the diffusion."""
    dim = states.shape[1]
    inference = OverdampedLangevinInference(TrajectoryCollection.from_arrays(X=states, dt=dt))
    varied = monomials_up_to(order=2, dim=dim, rank="symmetric_matrix") if degree == 3 else None
    return inference, monomials_up_to(order=degree, dim=dim, rank="vector"), varied


def _fitted(inference, dim):
    """Drift and covariance of a fit; SFI's diffusion is half the covariance."""

    def fitted(points):
        drift = np.asarray(inference.force_inferred(points)).reshape(len(points), dim)
        return drift, 2 * np.asarray(inference.diffusion_inferred(points)).reshape(-1, dim, dim)

    jax.block_until_ready(inference.force_coefficients)
    return fitted


if __name__ == "__main__":
    work("StochasticForceInference", {"linear": linear, "parametric": parametric})
