from itertools import product

import pytest
import torch
from torch.testing import assert_close

from sdelens.estimation.additive import (
    AdditiveMean,
    Moments,
    Terms,
    drifting,
    least_squares,
    nearest,
    random_walk,
    residual_variance,
    second_moment,
    times_of,
)
from sdelens.estimation.selection import RIDGES, SHRINKAGES, selected
from sdelens.paths.trajectories import Transitions
from tests.core.estimation.tokens import (
    DIM,
    LENGTH,
    VOCABULARY,
    in_parts,
    moments_of,
    one_hot,
    paths,
)

ALL_TERMS = [Terms(*flags) for flags in product([False, True], repeat=3)]


def own_slopes(step, *, by_position):
    """Slopes of each coordinate on itself and one intercept, or one for each time."""
    x, y, time = step.x.double(), step.following.double(), one_hot(step.t, step.t.unique())
    intercept = time if by_position else torch.ones(len(x), 1).double()
    return torch.stack(
        [
            torch.linalg.lstsq(torch.cat([x[:, [i]], intercept], 1), y[:, i]).solution[0]
            for i in range(DIM)
        ]
    )


def brute_force(step, terms, ridge, shrinkage):
    """Matrix, effects of times and effects of tokens by a dense ridge regression."""
    x, y = step.x.double(), step.following.double()
    times, tokens = step.t.unique(), step.token.unique()
    groups = [("free", torch.ones(len(x), 1).double(), 1e-9 * len(x))]
    if terms.state:
        groups.append(("state", x, ridge * x.square().sum(0)))
    if terms.position:
        groups.append(("position", one_hot(step.t, times), shrinkage))
    if terms.token:
        groups.append(("token", one_hot(step.token, tokens), shrinkage))
    features = torch.cat([columns for _, columns, _ in groups], dim=1)
    weight = torch.cat([torch.as_tensor(w).double().expand(c.shape[1]) for _, c, w in groups])
    target = torch.zeros(features.shape[1], DIM).double()
    if terms.state:
        target[1 : 1 + DIM] = own_slopes(step, by_position=terms.position).diag()
    cross = features.mT @ y + weight[:, None] * target
    solution = torch.linalg.solve(features.mT @ features + weight.diag(), cross)
    sizes = [columns.shape[1] for _, columns, _ in groups]
    by_name = dict(zip([name for name, _, _ in groups], solution.split(sizes), strict=True))
    matrix = by_name.get("state", torch.zeros(DIM, DIM).double()).mT
    by_time = by_name["free"] + by_name.get("position", torch.zeros(len(times), 1).double())
    return matrix, by_time, by_name.get("token", torch.zeros(0, DIM).double())


@pytest.mark.parametrize(("ridge", "shrinkage"), [(1e-6, 1.0), (1e-2, 16.0)])
@pytest.mark.parametrize("terms", ALL_TERMS, ids=str)
def test_least_squares_is_a_dense_ridge_regression(terms, ridge, shrinkage):
    block = paths()
    mean = least_squares(moments_of(block), terms, ridge=ridge, shrinkage=shrinkage)
    matrix, by_time, by_token = brute_force(block.flat(), terms, ridge, shrinkage)
    close = {"rtol": 1e-7, "atol": 1e-7}
    assert_close(mean.matrix, matrix, **close)
    assert_close(mean.by_time, by_time.expand(LENGTH - 1, DIM), **close)
    assert_close(mean.by_token, by_token, **close)


def residual_moment(mean, block):
    step = block.flat()
    residual = step.following.double() - mean(step.t.double(), step.x.double(), step.token)
    return residual.mT @ residual / len(residual)


OTHERS = {
    "the training paths": paths(),
    "other paths": paths(seed=1),
    "unseen tokens": paths(seed=2, tokens=(3, 9)),
    "only unseen tokens": paths(seed=3, tokens=(20, 22)),
    "few": paths(seed=4, count=2, tokens=(1, 3)),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("terms", ALL_TERMS, ids=str)
def test_second_moment_is_that_of_the_residuals(terms, other):
    train = moments_of(paths())
    mean = least_squares(train, terms)
    found = second_moment(mean, Moments.of(other, train.times))
    assert_close(found, residual_moment(mean, other), rtol=1e-9, atol=1e-9)
    variance = residual_variance(mean, Moments.of(other, train.times))
    assert_close(variance, found.diagonal(), rtol=1e-9, atol=1e-9)


def test_second_moment_of_walks_is_that_of_their_residuals():
    block = paths()
    moments = moments_of(block)
    for mean in (random_walk(moments), drifting(moments, by_position=True)):
        assert_close(second_moment(mean, moments), residual_moment(mean, block))


@pytest.mark.parametrize("terms", ALL_TERMS, ids=str)
def test_selected_has_the_penalties_of_lowest_validation_loss(terms):
    train, held = paths(), paths(seed=1)
    moments = moments_of(train)
    chosen = selected(moments, Moments.of(held, moments.times), terms)
    grid = [
        least_squares(moments, terms, ridge=r, shrinkage=s) for r, s in product(RIDGES, SHRINKAGES)
    ]
    losses = [float(residual_moment(mean, held).diagonal().log().sum()) for mean in grid]
    own = float(residual_moment(chosen, held).diagonal().log().sum())
    assert own == pytest.approx(min(losses), abs=1e-9)


def test_selected_keeps_a_ridge_that_was_given():
    moments = moments_of(paths())
    mean = selected(moments, moments_of(paths(seed=1)), Terms(state=True), ridge=3.0)
    assert_close(mean.matrix, least_squares(moments, Terms(state=True), ridge=3.0).matrix)


def test_nearest_rounds_and_clamps():
    times = torch.tensor([0.0, 1.0, 3.0])
    t = torch.tensor([[-9.0, 0.4, 0.6], [1.9, 2.1, 99.0]])
    assert nearest(times, t).tolist() == [[0, 0, 1], [1, 2, 2]]
    assert nearest(times[:1], t).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert nearest(times, t.double()).tolist() == nearest(times, t).tolist()


def test_times_of_are_those_at_which_a_transition_starts():
    assert times_of(in_parts(paths(), range(12))).tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]


def test_unseen_tokens_and_times_take_no_effect_and_the_nearest_one():
    mean = least_squares(moments_of(paths()), Terms(position=True, token=True))
    x = torch.zeros(4, DIM).double()
    t = torch.tensor([-1.0, 0.0, 8.0, 1e6]).double()
    unseen = torch.tensor([-1, 999, 10**9, 1003])
    expected = mean.by_time[[0, 0, -1, -1]]
    assert torch.equal(mean(t, x, unseen), expected)
    known = mean(t, x, mean.known[[0, 0, 1, 1]])
    assert torch.equal(known, expected + mean.by_token[[0, 0, 1, 1]])


def test_a_random_walk_stays_where_it_is():
    step = paths().flat()
    walk = random_walk(moments_of(paths())).to(torch.float32)
    assert torch.equal(walk(step.t, step.x, step.token), step.x)


def test_a_walk_with_drift_moves_by_the_mean_increment():
    block = paths()
    step, moments = block.flat(), moments_of(block)
    increments = (step.following - step.x).double()
    overall = increments.mean(0)
    assert_close(drifting(moments, by_position=False).by_time, overall.expand(LENGTH - 1, DIM))
    free = drifting(moments, by_position=True, shrinkage=0.0)
    shrunk = drifting(moments, by_position=True, shrinkage=16.0)
    for row, time in enumerate(moments.times):
        mine = increments[step.t == time]
        assert_close(free.by_time[row], mine.mean(0))
        pulled = (mine.sum(0) + 16 * overall) / (len(mine) + 16)
        assert_close(shrunk.by_time[row], pulled)


def test_every_tensor_of_a_mean_is_stored_contiguously():
    moments = moments_of(paths())
    means = [drifting(moments, by_position=flag) for flag in (False, True)]
    means += [random_walk(moments), *(least_squares(moments, terms) for terms in ALL_TERMS)]
    assert all(t.is_contiguous() for mean in means for t in mean.tensors().values())


def test_a_mean_is_rebuilt_from_its_tensors():
    mean = least_squares(moments_of(paths()), Terms(True, True, True))
    step = paths(seed=1).flat()
    again = AdditiveMean(**mean.tensors())
    arguments = (step.t.double(), step.x.double(), step.token)
    assert torch.equal(mean(*arguments), again(*arguments))


def test_the_truth_is_recovered_within_four_standard_errors():
    random = torch.Generator().manual_seed(0)

    def randn(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    count, noise = 20_000, 0.5
    matrix = torch.tensor([[0.9, 0.3, 0.0], [-0.3, 0.9, 0.1], [0.0, 0.0, 0.5]]).double()
    by_time, by_token = randn(LENGTH, DIM), randn(VOCABULARY, DIM)
    place = torch.randint(LENGTH, (count,), generator=random)
    token = torch.randint(VOCABULARY, (count,), generator=random)
    x = randn(count, DIM) + 2 * by_token[token] - by_time[place]
    y = x @ matrix.mT + by_time[place] + by_token[token] + noise * randn(count, DIM)
    moments = Moments(DIM, torch.arange(LENGTH).double())
    for part in torch.arange(count).split(777):
        moments.add(Transitions(place[part].double(), x[part], token[part], y[part]))
    mean = least_squares(moments, Terms(True, True, True))
    features = torch.cat(
        [x, one_hot(place, torch.arange(LENGTH)), one_hot(token, torch.arange(VOCABULARY))], 1
    )
    # positions and tokens share one free constant: a pseudo-inverse gives A's own part
    variance = torch.linalg.pinv(features.mT @ features, hermitian=True).diagonal()[:DIM]
    stderr = noise * variance.sqrt()
    assert ((mean.matrix - matrix) / stderr).abs().max() < 4
    covariance = second_moment(mean, moments)
    # Cov of a sample covariance's entries: (S_ii S_jj + S_ij^2) / n
    assert (covariance.diagonal() - noise**2).abs().max() < 4 * noise**2 * (2 / count) ** 0.5
    assert (covariance - covariance.diagonal().diag()).abs().max() < 4 * noise**2 * count**-0.5


def test_a_heavy_ridge_leaves_the_autoregression_of_each_coordinate():
    block = paths()
    mean = least_squares(moments_of(block), Terms(state=True), ridge=1e9)
    truth = own_slopes(block.flat(), by_position=False).diag()
    assert_close(mean.matrix, truth, atol=1e-6, rtol=1e-6)
