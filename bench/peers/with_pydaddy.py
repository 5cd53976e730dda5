"""PyDaddy: sparse polynomials of binned moments, as in its first example."""

import numpy as np
import pydaddy
from worker import work


def polynomials(states, dt, degree):
    """Drift of the given degree, diffusion of degree 2, thresholds by cross-validation."""
    columns = list(states.T.astype(float))
    found = pydaddy.Characterize(columns, t=dt, Dt=1, show_summary=False)

    def tuned(name, order):
        return found.fit(name, order=order, tune=True)

    if len(columns) == 1:
        drift, noise = tuned("F", degree), tuned("G", 2)
        return lambda x: (drift(x[:, 0])[:, None], noise(x[:, 0])[:, None, None])
    drifts = [tuned(name, degree) for name in ("F1", "F2")]
    noises = [tuned(name, 2) for name in ("G11", "G12", "G12", "G22")]

    def fitted(points):
        x = points.T
        covariance = np.stack([noise(*x) for noise in noises], -1).reshape(-1, 2, 2)
        return np.stack([drift(*x) for drift in drifts], -1), covariance

    return fitted


if __name__ == "__main__":
    work("pydaddy", {"polynomials": polynomials})
