"""scikit-learn: least squares, and ridge with generalised cross-validation."""

import numpy as np
from one_step import exact
from sklearn.linear_model import LinearRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from worker import work

ALPHAS = np.logspace(-3, 5, 17)


def ridge(states, dt, degree):
    """Ridge regression of increments, which shrinks towards a random walk, and the logarithm."""
    states = states.astype(float)
    x, rise = states[:-1], np.diff(states, axis=0)
    model = RidgeCV(alphas=ALPHAS).fit(x, rise)
    residual = rise - model.predict(x).reshape(x.shape)  # predict drops an axis of size one
    step = np.eye(x.shape[1]) + model.coef_
    return exact(step, model.intercept_, residual.T @ residual / len(x), dt)


def polynomial(states, dt, degree):
    """Ridge regression of increments and of residual products on monomials, divided by dt."""
    states = states.astype(float)
    x, rise = states[:-1], np.diff(states, axis=0)
    mean = _monomials(degree).fit(x, rise)
    residual = rise - mean.predict(x).reshape(x.shape)
    products = (residual[:, :, None] * residual[:, None]).reshape(len(x), -1)
    noise = _monomials(2).fit(x, products)

    def fitted(points):
        covariance = noise.predict(points).reshape(len(points), x.shape[1], x.shape[1])
        return mean.predict(points).reshape(points.shape) / dt, covariance / dt

    return fitted


def _monomials(degree):
    scaled = make_pipeline(StandardScaler(), PolynomialFeatures(degree, include_bias=False))
    return make_pipeline(scaled, StandardScaler(), RidgeCV(alphas=ALPHAS))


def least_squares(states, dt, degree):
    """Least squares without a penalty, and the logarithm of the step matrix."""
    states = states.astype(float)
    model = LinearRegression().fit(states[:-1], states[1:])
    residual = states[1:] - model.predict(states[:-1])
    return exact(model.coef_, model.intercept_, residual.T @ residual / len(residual), dt)


if __name__ == "__main__":
    work(
        "scikit-learn",
        {"RidgeCV": ridge, "LinearRegression": least_squares, "polynomial RidgeCV": polynomial},
    )
