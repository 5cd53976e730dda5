"""Stochastic Force Inference, by both of its families of estimators."""

import logging

import jax
import numpy as np
from SFI import OverdampedLangevinInference, TrajectoryCollection
from SFI.bases import monomials_up_to
from worker import work

logging.disable(logging.INFO)


def linear(states, dt, degree):
    """The first look that its guide advises: closed form, its own choice of conventions."""
    inference, basis, quadratic = _start(states, dt, degree)
    inference.compute_diffusion_constant()
    inference.infer_force_linear(basis)
    if quadratic is not None:
        inference.infer_diffusion_linear(quadratic)
    return _fitted(inference, states.shape[1])


def parametric(states, dt, degree):
    """For coarse sampling: Runge-Kutta flow, the exact likelihood of clean data (eiv=False)."""
    inference, basis, quadratic = _start(states, dt, degree)
    inference.infer_force(basis, Lambda=np.zeros((states.shape[1],) * 2), eiv=False)
    if quadratic is not None:
        inference.infer_diffusion(quadratic)
    return _fitted(inference, states.shape[1])


def _start(states, dt, degree):
    """Monomials for the force, and of degree 2 for the diffusion where the drift is not linear."""
    dim = states.shape[1]
    inference = OverdampedLangevinInference(TrajectoryCollection.from_arrays(X=states, dt=dt))
    varied = monomials_up_to(order=2, dim=dim, rank="symmetric_matrix") if degree == 3 else None
    return inference, monomials_up_to(order=degree, dim=dim, rank="vector"), varied


def _fitted(inference, dim):
    """Its D is half of the covariance."""

    def fitted(points):
        drift = np.asarray(inference.force_inferred(points)).reshape(len(points), dim)
        return drift, 2 * np.asarray(inference.diffusion_inferred(points)).reshape(-1, dim, dim)

    jax.block_until_ready(inference.force_coefficients)
    return fitted


if __name__ == "__main__":
    work("StochasticForceInference", {"linear": linear, "parametric": parametric})
