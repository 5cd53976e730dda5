"""The efficient bound against derivatives, and validation against probes of known quality."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import logm

from sdelens.errors import UsageError
from sdelens.interfaces import load
from sdelens.laws.matrices import diffusion_from_step
from sdelens.protocols import Fit
from sdelens.testing import (
    discrete_markov,
    double_well,
    hidden_ornstein_uhlenbeck,
    noisy_lorenz,
    ornstein_uhlenbeck,
)
from sdelens.testing.efficient import Tangent, efficient
from sdelens.testing.validation import validate


def test_the_tangent_is_the_derivative_of_scipys_logarithm():
    flow, dt = ornstein_uhlenbeck(3).flow, 0.1
    random = torch.Generator().manual_seed(0)
    step, noise = torch.randn(2, 3, 3, generator=random, dtype=torch.float64)
    noise = noise + noise.mT

    def coefficients(size):
        matrix = torch.tensor(np.real(logm((flow.matrix + size * step).numpy()))) / dt
        return matrix, diffusion_from_step(matrix, flow.covariance + size * noise, dt)

    tangent = Tangent.at(flow.matrix, flow.covariance, dt).coefficients(step, noise)
    for known, up, down in zip(tangent, coefficients(1e-5), coefficients(-1e-5), strict=True):
        torch.testing.assert_close(known, (up - down) / 2e-5, rtol=1e-6, atol=1e-6)


def test_the_tangent_holds_where_eigenvalues_coincide():
    matrix = torch.diag(torch.full((2,), 0.9, dtype=torch.float64))
    step = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    rate, _ = Tangent.at(matrix, torch.eye(2).double(), 0.1).coefficients(step, 0 * step)
    torch.testing.assert_close(rate, step / 0.09)


def test_in_one_dimension_the_bound_is_the_textbooks():
    bound, dt = efficient(ornstein_uhlenbeck(1)), 0.1
    spread = 0.25 / 2
    slope = (math.exp(2 * dt) - 1) / dt**2 * spread
    level = spread * (1 - math.exp(-2 * dt)) / (1 - math.exp(-dt)) ** 2
    assert bound.drift == pytest.approx(slope + level, rel=1e-9)
    assert bound.parameters == 3


def test_at_short_steps_the_bound_is_that_of_continuous_observation():
    system = ornstein_uhlenbeck(4, dt=1e-4)
    bound, trace = efficient(system), float(system.unit.trace())
    # E|A^x - Ax|^2 = (d + 1) tr(a) / T; E|a^ - a|^2 = (tr(a)^2 + |a|^2) / N
    assert bound.drift * system.dt == pytest.approx(5 * trace, rel=1e-3)
    continuous = trace**2 + float(system.unit.square().sum())
    assert bound.covariance == pytest.approx(continuous, rel=1e-3)


def test_unpenalised_least_squares_reaches_the_efficient_bound():
    systems = {"ou": ornstein_uhlenbeck(2)}
    [row] = validate("linear", systems, seeds=range(30), transitions=20_000, ridge=0.0)
    for ratio in (row.drift_ratio, row.covariance_ratio, row.excess_ratio):
        # an efficient estimator is at 1; none without bias is below
        assert abs(ratio.value - 1) < 3.5 * ratio.stderr
        assert ratio.stderr < 0.2
    # 6 million dependent intervals; their share varies with the fit by half of this
    assert abs(row.predicted.value - 0.9) < 0.003
    assert row.drift_r2.value > 0.99


def test_in_sixteen_dimensions_least_squares_is_within_a_tenth_of_the_bound():
    systems = {"ou": ornstein_uhlenbeck(16)}
    [row] = validate("linear", systems, seeds=range(4), transitions=20_000, ridge=0.0)
    for ratio in (row.drift_ratio, row.covariance_ratio):
        assert abs(ratio.value - 1) < 0.1 + 3 * ratio.stderr
    assert abs(row.excess_ratio.value - 1) < 0.15


def test_intervals_of_coefficients_hold_them_as_often_as_they_say():
    one = {"ou": ornstein_uhlenbeck(2)}
    [row] = validate("linear", one, seeds=range(60), transitions=2_000, ensemble=5, ridge=0.0)
    # five intervals a seed, which are dependent: the error is over seeds
    assert abs(row.intervals.value - 0.9) < 3.5 * row.intervals.stderr
    assert row.intervals.stderr < 0.02


def test_a_law_that_ignores_the_state_has_no_drift_to_show():
    [row] = validate("constant", {"well": double_well()}, seeds=[0], transitions=2_000)
    assert abs(row.drift_r2.value) < 0.02
    assert row.excess.value > 0.02
    assert row.drift_ratio is None


def test_where_there_is_no_truth_there_is_no_number():
    systems = {"hidden": hidden_ornstein_uhlenbeck(), "chain": discrete_markov()}
    hidden, chain = validate("linear", systems, seeds=[0, 1], transitions=2_000)
    assert hidden.excess is None
    assert hidden.drift_r2 is None
    # the best Gaussian law of the two-peaked noise is .189 nats behind
    assert chain.excess.value == pytest.approx(0.189, abs=0.02)


def test_a_probe_that_refuses_a_system_says_why_and_the_others_go_on():
    class Narrow(load("probe", "linear")):
        """For two dimensions at most."""

        def fit(self, train, validation, *, seed, watch) -> Fit:
            if next(iter(train)).states.shape[-1] > 2:
                raise UsageError("two dimensions at most")
            return super().fit(train, validation, seed=seed, watch=watch)

    systems = {"lorenz": noisy_lorenz(), "ou": ornstein_uhlenbeck(1)}
    refused, other = validate(Narrow, systems, seeds=[0], transitions=200)
    assert refused.failure == "two dimensions at most"
    assert refused.drift_r2 is None
    assert other.failure is None
    assert other.drift_ratio.value > 0


def test_a_probe_itself_keeps_its_density():
    probe = load("probe", "linear")(density="discrete")
    [row] = validate(probe, {"ou": ornstein_uhlenbeck(1)}, seeds=[0], transitions=2_000)
    [exact] = validate(type(probe), {"ou": ornstein_uhlenbeck(1)}, seeds=[0], transitions=2_000)
    # a kernel's drift is (e^-dt - 1)/dt, five percent from the truth; its noise ten percent
    assert row.covariance_error.value > exact.covariance_error.value


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"transitions": 100}, "at least 200 transitions"),
        ({"seeds": []}, "and one seed"),
        ({"probe": load("probe", "linear")(), "ridge": 0.0}, "only with the name of a probe"),
    ],
)
def test_what_cannot_be_validated_is_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        validate(**{"probe": "linear", "systems": {"ou": ornstein_uhlenbeck(1)}} | arguments)
