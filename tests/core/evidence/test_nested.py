"""Nested regressions find memory, change along the path and lack of fit, each only where it is."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.log_scale import LogScale
from sdelens.estimation.regression import Regression
from sdelens.evidence.lagged import lagged
from sdelens.evidence.nested import PAST, STATE, TIME, nested, simplest
from sdelens.evidence.process_class import MEMORY, SHOWN
from sdelens.paths.products import products_of
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import ignore_epoch
from sdelens.seeds import generator
from sdelens.testing import double_well
from sdelens_plugins.probes.linear import LinearProbe
from tests.core.evidence.simulated import autoregression, kernel, sides


def effects(*choices, blocks=PAST):
    """The effects of blocks on the mean and on the scale; by default of memory."""
    found = nested(choices)
    return [
        found.effect("e", scale=scale, blocks=blocks, threshold=SHOWN, tolerance=MEMORY)
        for scale in (False, True)
    ]


def test_a_scale_that_turns_on_two_coordinates_at_once_is_no_memory():
    noise = torch.randn(60, 300, 2, generator=generator(3))
    states = [noise[0]]
    for kick in noise[1:]:
        x = states[-1]
        states.append(0.5 * x + 0.5 * (0.5 * x[:, :1] * x[:, 1:]).clamp(-2, 2).exp() * kick)
    by_mean, by_scale = effects(sides(kernel(0.5 * torch.eye(2), 0.5), torch.stack(states, 1)))
    assert by_scale.absent
    assert by_mean.absent


def test_memory_is_not_ruled_out_where_it_could_not_be_estimated():
    # one more lag is worth -log(1 - 0.2^2) / 2 = 0.020, but 3 x 32 coefficients of lagged states
    # and 30 of waves, for each of 32 coordinates, cost 126 / 2N = 0.041 to estimate
    states = autoregression(50, 54, 0, 0.5, 0.2, dim=32)
    by_mean, _ = effects(sides(kernel(0.5 * torch.eye(32), 1.0), states))
    assert by_mean.price == pytest.approx(126 / (2 * 30 * 51), rel=0.01)
    assert not by_mean.absent
    assert by_mean.detectable > 0.02


def test_rows_hold_each_state_with_its_own_past():
    numbers = torch.arange(24.0).reshape(2, 12, 1)
    block = Trajectories.from_states(numbers, 1.0)
    mask = block.mask.clone()
    mask[0, :3], mask[1, 9:] = False, False
    rows = lagged(kernel(torch.eye(1), 0.5), replace(block, mask=mask), torch.tensor([7, 4]))
    # path 0 is observed at times 3 to 11, path 1 at 0 to 8
    assert rows.x[:, 0].tolist() == [5, 6, 7, 8, 9, 10, *range(14, 20)]
    assert torch.equal(rows.before[:, :2, 0], rows.x - torch.tensor([[1.0, 2.0]]))
    assert rows.residual.unique().tolist() == [2.0]  # an increment of 1 by a deviation of 1/2
    assert rows.group.tolist() == [7] * 6 + [4] * 6
    assert rows.document.tolist() == [0] * 6 + [1] * 6
    assert (rows.squares == 4.0).all()  # averages of one value


def test_the_moving_average_is_of_all_states_two_steps_and_more_ago():
    states = torch.randn(3, 9, 2, generator=generator(1))
    rows = lagged(
        kernel(torch.eye(2), 1.0), Trajectories.from_states(states, 1.0), torch.arange(3)
    )
    # the last row of a path: the state at 7 has the average of those at 0 to 5
    weights = torch.tensor([0.8**5, *(0.2 * 0.8**k for k in (4, 3, 2, 1, 0))])
    expected = torch.einsum("t,ptd->pd", weights, states[:, :6])
    assert torch.allclose(rows.before[5::6, 2], expected, atol=1e-6)


def test_lags_do_not_cross_a_gap():
    block = Trajectories.from_states(torch.arange(12.0)[None, :, None], 1.0)
    mask = block.mask.clone()
    mask[0, 5] = False
    rows = lagged(kernel(torch.eye(1), 1.0), replace(block, mask=mask), torch.tensor([0]))
    assert rows.x[:, 0].tolist() == [2, 3, 8, 9, 10]


def test_too_many_rows_are_thinned_evenly_over_blocks():
    states = torch.arange(40.0).reshape(1, 40, 1)
    one = Trajectories.from_states(states, 1.0)
    law, group = kernel(torch.eye(1), 1.0), torch.zeros(1, dtype=torch.long)
    rows = lagged(law, [one, one], group, most=20)
    # 37 rows a block: every fourth of 74
    assert rows.x[:, 0].tolist() == [*range(2, 39, 4), *range(5, 39, 4)]


def test_paths_of_three_states_have_no_memory_to_ask_for():
    block = Trajectories.from_states(torch.zeros(5, 3, 1), 1.0)
    with pytest.raises(UsageError, match="at least four observations"):
        lagged(kernel(torch.eye(1), 1.0), block, torch.arange(5))


def test_regression_without_a_penalty_is_least_squares_with_its_likelihood():
    random = generator(2)
    f = torch.randn(500, 3, generator=random, dtype=torch.float64)
    y = f @ torch.randn(3, 2, generator=random, dtype=torch.float64)
    y = y + torch.randn(500, 2, generator=random, dtype=torch.float64)
    products = products_of(f, y)
    fitted = Regression.of(products, torch.zeros(3, dtype=torch.float64))
    assert torch.allclose(fitted.coefficients, torch.linalg.lstsq(f, y).solution)
    left = y - f @ fitted.coefficients
    normal = torch.distributions.MultivariateNormal(torch.zeros(2).double(), left.mT @ left / 500)
    assert torch.allclose(fitted.log_density(f, y), normal.log_prob(left), atol=1e-4)
    shift = float(fitted.log_density(f, y).mean()) + fitted.nll(products)
    assert shift == pytest.approx(-math.log(2 * math.pi), abs=1e-9)


def test_of_models_that_validation_cannot_tell_apart_the_simplest_is_selected():
    random = generator(3)
    same = torch.randn(400, generator=random)
    noise = torch.randn(400, generator=random)
    noise -= noise.mean()
    error = float(noise.std()) / 20  # of the mean of 400 rows
    assert simplest([same, same + noise - 0.9 * error]) == 1
    assert simplest([same, same + noise - 1.1 * error]) == 0
    assert simplest([same - 1, same, same]) == 2
    assert simplest([same]) == 0


def test_with_more_features_than_rows_the_residuals_still_have_a_law():
    random = generator(5)
    f = torch.randn(40, 90, generator=random, dtype=torch.float64)
    y = torch.randn(40, 30, generator=random, dtype=torch.float64)
    fitted = Regression.of(products_of(f, y), torch.full((90,), 1e-8, dtype=torch.float64))
    assert fitted.root.isfinite().all()
    fresh = (
        torch.randn(50, 90, generator=random, dtype=torch.float64),
        torch.randn(50, 30).double(),
    )
    assert fitted.nll(products_of(*fresh)) > 1e3  # so that validation prefers a penalty


def test_log_scale_recovers_its_coefficients_within_their_information():
    random = generator(4)
    phi = torch.cat([torch.ones(20_000, 1), torch.randn(20_000, 2, generator=random)], dim=1)
    truth = torch.tensor([[0.3, -0.2], [0.5, 0.0], [-0.4, 0.2]])
    white = torch.randn(20_000, 2, generator=random) * (phi @ truth / 2).exp()
    fitted = LogScale.of(phi, white, torch.zeros(3).double())
    # the information is half of the gram
    error = (2 * torch.linalg.inv(phi.double().mT @ phi.double()).diagonal()).sqrt()
    assert ((fitted.coefficients - truth).abs() < 4 * error[:, None]).all()


@pytest.mark.parametrize("dim", [1, 3])
def test_memory_of_the_mean_is_worth_its_partial_correlation(dim):
    law = kernel(0.5 * torch.eye(dim), 1.0)
    first, second = 0.4, 0.2
    mean, scale = effects(sides(law, autoregression(1000, 40, 5, first, second, dim=dim)))
    # the second partial autocorrelation of an AR(2) is its second coefficient
    assert mean.value == pytest.approx(-0.5 * math.log(1 - second**2), abs=4 * mean.stderr)
    assert mean.shown
    assert scale.absent


def test_a_markov_process_has_no_memory():
    law = kernel(torch.eye(2) * 0.9, 1.0)
    mean, scale = effects(sides(law, autoregression(600, 40, 6, 0.9, dim=2)))
    assert mean.absent
    assert scale.absent


def test_what_a_linear_law_misses_of_a_nonlinear_drift_is_no_memory():
    states = double_well().simulate(600, 60, seed=7)
    x, following = states[:, :-1].flatten(), states[:, 1:].flatten()
    slope = float((x * following).sum() / x.square().sum())
    law = kernel(torch.tensor([[slope]]), float((following - slope * x).std()))
    assert all(effect.absent for effect in effects(sides(law, states)))
    assert not any(effect.shown for effect in effects(sides(law, states), blocks=TIME))


def test_a_folded_map_is_a_lack_of_fit_and_nothing_else():
    kicks = torch.randn(40, 600, 1, generator=generator(20))
    states = [kicks[0]]
    for kick in kicks[1:]:
        states.append(2 * torch.sin(3 * states[-1]) + 0.3 * kick)
    rows = sides(kernel(torch.zeros(1, 1), 1.5), torch.stack(states, dim=1))
    misfit, _ = effects(rows, blocks=STATE)
    spread = float(torch.stack(states[1:]).std())
    # what is left of the spread of the next state is the noise of 0.3
    assert misfit.value == pytest.approx(math.log(spread / 0.3), abs=0.05)
    for blocks in (TIME, PAST):
        assert all(effect.absent for effect in effects(rows, blocks=blocks))
    white = nested([rows]).standard(rows.test)
    tails = white.square().square().mean() / (3 * white.square().mean().square())
    assert float(tails) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("moves", ["mean", "rate", "noise", "nothing"])
def test_a_law_that_changes_along_the_path_is_told_from_one_that_does_not(moves):
    kicks = torch.randn(60, 800, 1, generator=generator(21))
    states = [kicks[0]]
    for number, kick in enumerate(kicks[1:]):
        u = number / 58
        level = 2 * math.sin(math.pi * u) if moves == "mean" else 0.0
        slope = 0.9 - 0.6 * u if moves == "rate" else 0.6
        size = 1 + u if moves == "noise" else 1.0
        states.append(level + slope * (states[-1] - level) + size * kick)
    mean, scale = effects(
        sides(kernel(torch.tensor([[0.6]]), 1.0), torch.stack(states, 1)), blocks=TIME
    )
    assert mean.shown == (moves in {"mean", "rate"})
    assert scale.shown == (moves == "noise")
    if moves == "nothing":
        assert mean.absent
        assert scale.absent
    elif moves == "rate":  # the part of the mean that the average slope misses
        x = torch.stack(states[2:-1])
        slopes = -0.6 * (torch.arange(2, 59) / 58 - 0.5)
        assert mean.value == pytest.approx(
            0.5 * float((1 + (slopes[:, None, None] * x).square().mean()).log()), abs=0.01
        )


def test_terms_of_a_law_for_each_time_are_left_out_where_they_make_up_for_a_lack_of_fit():
    kicks = torch.randn(30, 500, 1, generator=generator(22))
    states = [torch.full((500, 1), 0.3) + 0.01 * kicks[0]]
    for kick in kicks[1:]:
        states.append((3.8 * states[-1] * (1 - states[-1]) + 0.002 * kick).clamp(0, 1))
    paths = torch.stack(states, dim=1)
    law = (
        LinearProbe()
        .fit(
            Trajectories.from_states(paths, 1.0),
            Trajectories.from_states(paths, 1.0),
            seed=0,
            watch=ignore_epoch,
        )
        .law
    )
    own, still = sides(law, paths), sides(law, paths, at=15.0)
    assert effects(own, blocks=TIME)[0].shown
    assert not any(effect.shown for effect in effects(own, still, blocks=TIME))


def test_noise_that_remembers_its_size_is_memory_of_the_scale():
    kicks = torch.randn(40, 1000, 1, generator=generator(8))
    noise, states = [kicks[0]], [kicks[0]]
    for kick in kicks[1:]:  # Engle's ARCH(1), and an autoregression driven by it
        noise.append((0.5 + 0.5 * noise[-1].square()).sqrt() * kick)
        states.append(0.8 * states[-1] + noise[-1])
    rows = sides(kernel(torch.tensor([[0.8]]), 1.0), torch.stack(states, dim=1))
    mean, scale = effects(rows)
    assert scale.shown
    assert not mean.shown
