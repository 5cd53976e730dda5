"""Reference systems that are no diffusion of what is seen: hidden states, jumps, a chain."""

import math

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.testing import (
    coloured_noise,
    discrete_markov,
    hidden_ornstein_uhlenbeck,
    jump_ornstein_uhlenbeck,
    systems,
)


def lag_gain(flow, lags):
    """Nats that `lags` states of the first coordinate are worth beyond the last one."""
    powers = [torch.linalg.matrix_power(flow.matrix, k) for k in range(lags + 1)]
    c = torch.stack([(power @ flow.stationary())[0, 0] for power in powers])
    table = c[(torch.arange(lags)[:, None] - torch.arange(lags)).abs()]
    left = c[0] - c[1:] @ torch.linalg.solve(table, c[1:])
    return 0.5 * float(((c[0] - c[1] ** 2 / c[0]) / left).log())


def test_hidden_states_are_worth_what_is_said():
    hidden, fast = hidden_ornstein_uhlenbeck(), hidden_ornstein_uhlenbeck(kappa=5.0)
    assert lag_gain(hidden.flow, 2) == pytest.approx(0.016, abs=5e-4)
    assert lag_gain(hidden.flow, 3) == pytest.approx(0.024, abs=5e-4)
    assert lag_gain(fast.flow, 2) == pytest.approx(0.0001, abs=1e-5)
    assert lag_gain(coloured_noise().flow, 2) == pytest.approx(0.087, abs=5e-4)


@pytest.mark.parametrize("make", [hidden_ornstein_uhlenbeck, coloured_noise])
def test_partly_seen_paths_have_the_lags_of_the_whole(make):
    system = make()
    x = system.simulate(20_000, 6, 0)[..., 0].double()
    for lag in (0, 1, 5):
        power = torch.linalg.matrix_power(system.flow.matrix, lag)
        truth = float((power @ system.flow.stationary())[0, 0])
        products = x[:, 0] * x[:, lag]
        assert abs(float(products.mean()) - truth) < 4 * float(products.std()) / math.sqrt(20_000)


def test_jumps_have_the_cumulants_of_a_filtered_poisson_process():
    system = jump_ornstein_uhlenbeck()
    x, following = system.simulate(200_000, 2, 0)[..., 0].double().unbind(1)
    residual = following - math.exp(-system.dt) * x
    decay = (1 - math.exp(-2 * system.dt)) / 2
    variance = (0.25 + system.jumps * system.size**2) * decay
    fourth = 3 * variance**2 + 3 * system.size**4 * (1 - math.exp(-4 * system.dt)) / 4
    for power, truth in ((2, variance), (4, fourth)):
        raised = residual**power
        assert abs(float(raised.mean()) - truth) < 4 * float(raised.std()) / math.sqrt(200_000)


def test_the_chain_reaches_its_stationary_variance():
    x = discrete_markov().simulate(20_000, 2, 0)[:, 0, 0].double()
    squares = x.square()
    assert abs(float(squares.mean()) - 4 / 3) < 4 * float(squares.std()) / math.sqrt(20_000)


def test_what_is_not_a_diffusion_has_no_drift():
    known = systems()
    for name in ("jump-ornstein-uhlenbeck", "hidden-ornstein-uhlenbeck", "discrete-markov"):
        x = torch.zeros(3, 1)
        assert known[name].drift(x) is None
        assert known[name].covariance(x) is None


def test_a_hidden_level_without_a_rate_is_refused():
    with pytest.raises(UsageError, match="above 0, got 0"):
        hidden_ornstein_uhlenbeck(kappa=0.0)
