"""Densities in many dimensions: traces by products with random signs, no matrix formed."""

import math

import torch
from torch.testing import assert_close

from sdelens.laws.densities import kessler
from sdelens.laws.expansion import Coefficients, Expansion, Precision
from sdelens.laws.jets import differences, jet
from sdelens.laws.law import Gaussian
from sdelens.laws.scale import DiagonalScale
from tests.core.laws.processes import correlated_process, randn


def test_estimated_traces_are_right_within_their_error():
    x = randn(50, 3)
    rough = correlated_process(Precision(widest=2, estimates=400))
    exact, guessed = (Expansion.at(c, x) for c in (correlated_process(), rough))
    error = guessed.jacobian.trace_error()
    assert (error > 0).any()
    gap = (guessed.jacobian.trace() - exact.jacobian.trace()).abs()
    assert (gap <= 5 * error + 1e-9).all()
    v = randn(50, 3, seed=2)
    assert_close(guessed.jacobian.times(v), exact.jacobian.times(v))
    assert_close(guessed.jacobian.matrix(), exact.jacobian.matrix())
    law = kessler(correlated_process(), x)
    following = law.sample(0)
    # half the trace's error, and what the mean's adds to |r|^2 / 2
    found = kessler(rough, x).log_density(following)
    assert ((found - law.log_density(following)).abs() < 0.02).all()


def test_above_64_dimensions_no_matrix_is_formed_unless_it_is_asked_for():
    dim = 70
    ones = torch.ones(dim).double()
    c = Coefficients(lambda x: -0.1 * x, lambda _: DiagonalScale(0.3 * ones), True)
    x = randn(4, dim)
    law = kessler(c, x)
    # products are exact, and so is the trace of a multiple of the identity
    truth = Gaussian(x * (1 - 0.1 + 0.005), DiagonalScale(0.3 * math.exp(-0.05) * ones))
    assert_close(law.log_density(x), truth.log_density(x))
    assert_close(law.covariance().variance(), truth.scale.variance().expand(4, dim))


def test_differences_over_a_quarter_of_a_step_are_the_derivatives():
    c = correlated_process()
    x = randn(20, 3)
    columns = c.noise(x).factor().movedim(-1, 0)
    for exact, quick in zip(jet(c.both, x, columns), differences(c.both, x, columns), strict=True):
        assert_close(quick, exact, rtol=0, atol=float(2e-2 * exact.abs().max()))
