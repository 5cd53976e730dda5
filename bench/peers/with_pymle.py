"""pymle: maximum likelihood for one-dimensional models."""

import numpy as np
from pymle.core.Model import Model1D
from pymle.core.TransitionDensity import ExactDensity, ShojiOzakiDensity
from pymle.fit.AnalyticalMLE import AnalyticalMLE
from pymle.models import OrnsteinUhlenbeck
from worker import one_dimension, work


class Cubic(Model1D):
    """Cubic polynomial drift with constant noise."""

    def drift(self, x, t):
        """The cubic polynomial."""
        a, b, c, d, _ = self._params
        return a + x * (b + x * (c + x * d))

    def diffusion(self, x, t):
        """The constant noise, as an array of the length of x."""
        return self._params[4] * (x > -1e4)  # as in pymle's own models


def likelihood(states, dt, degree):
    """Ornstein-Uhlenbeck process by its exact density, or cubic drift by Shoji and Ozaki's."""
    sample = one_dimension(states)
    if degree == 1:
        model, bounds = OrnsteinUhlenbeck(), [(0.01, 10), (-10, 10), (0.01, 5)]
        fit = AnalyticalMLE(sample, bounds, dt, density=ExactDensity(model))
        rate, level, noise = fit.estimate_params(np.array([0.5, sample.mean(), 0.3])).params
        return lambda x: (rate * (level - x), np.full((1, 1, 1), noise**2))
    model, bounds = Cubic(), [(-10, 10)] * 4 + [(0.01, 5)]
    fit = AnalyticalMLE(sample, bounds, dt, density=ShojiOzakiDensity(model))
    model.params = fit.estimate_params(np.array([0.0, 0.5, 0.0, -0.5, 0.5])).params
    return lambda x: (model.drift(x, 0), np.full((1, 1, 1), model.params[4] ** 2))


if __name__ == "__main__":
    work("pymle-diffusion", {"maximum likelihood": likelihood})
