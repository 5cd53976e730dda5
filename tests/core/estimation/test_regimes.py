from itertools import islice, pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from sdelens.estimation.additive import Terms, least_squares
from sdelens.estimation.expectation_maximisation import Prior, climb, expected
from sdelens.estimation.regimes import Chain, Departures, Regimes
from sdelens.laws.law import Gaussian
from sdelens.laws.scale import FullScale
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories

DIM, REGIMES = 2, 3


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def regimes(members=1, rank=1, seed=0, dim=DIM):
    """Drawn at random, in float64."""
    shape = (members, REGIMES)
    return Regimes(
        0.5 * randn(*shape, dim + 1, dim, seed=seed),
        randn(*shape, dim, seed=seed + 1).exp(),
        randn(*shape, dim, rank, seed=seed + 2),
        Chain(
            randn(*shape, seed=seed + 3).log_softmax(-1),
            randn(*shape, REGIMES, seed=seed + 4).log_softmax(-1),
        ),
    )


def observed(paths=3, length=5, seed=9, dim=DIM):
    """Paths of unequal length, one of which begins late; NaN where nothing was observed."""
    block = Trajectories.from_states(randn(paths, length, dim, seed=seed), 1.0)
    mask = block.mask.clone()
    mask[1, -2:] = False
    mask[2, :2] = False
    states = block.states.where(mask[..., None], torch.nan)
    return Trajectories(states, mask, block.times, block.tokens, block.document)


def departures(block, size=8192):
    moments = Moments.of(block, times_of(block))
    return Departures(block, least_squares(moments, Terms(state=True, position=True)), size)


def prior(dim=DIM, floor=0.0):
    one = torch.ones(dim).double()
    return Prior(torch.full((dim + 1,), 2.0).double(), one, floor * one)


def brute_force(model, pieces, path):
    """log p of a path's transitions, summed over every sequence of regimes from time 0 on."""
    (piece,) = pieces
    place = piece.steps.flatten().cumsum(0).reshape(piece.steps.shape) - 1
    first, moves = model.chain.start[0], model.chain.moves[0]
    terms = []
    for sequence in product(range(REGIMES), repeat=piece.steps.shape[1]):
        total = first[sequence[0]] + sum(moves[a, b] for a, b in pairwise(sequence))
        for step, k in enumerate(sequence):
            if piece.steps[path, step]:
                row = place[path, step]
                mean = piece.features[row] @ model.coefficients[0, k]
                root = torch.linalg.cholesky(model.covariance()[0, k])
                total = total + Gaussian(mean, FullScale(root)).log_density(piece.residual[row])
        terms.append(total)
    return torch.stack(terms)


@pytest.mark.parametrize("rank", [0, 1])
def test_the_likelihood_is_the_sum_over_all_sequences_of_regimes(rank):
    model, pieces = regimes(rank=rank), departures(observed())
    total = sum(brute_force(model, pieces, path).logsumexp(0) for path in range(3))
    assert_close(expected(model, pieces).log_likelihood[0], total)


def test_the_expected_moves_and_starts_are_those_of_all_sequences():
    model, pieces = regimes(), departures(observed())
    start, moves = torch.zeros(REGIMES).double(), torch.zeros(REGIMES, REGIMES).double()
    for path, last in enumerate((4, 2, 4)):  # steps to the last one observed
        weights = brute_force(model, pieces, path).softmax(0)
        for weight, sequence in zip(weights, product(range(REGIMES), repeat=4), strict=True):
            start[sequence[0]] += weight
            for a, b in pairwise(sequence[:last]):
                moves[a, b] += weight
    sums = expected(model, pieces)
    assert_close(sums.start[0], start)
    assert_close(sums.moves[0], moves)


def test_the_filter_knows_a_regime_by_what_came_before_only():
    chain, evidence = regimes().chain, 5 * randn(1, 4, 6, REGIMES)
    changed = evidence.clone()
    changed[:, :, 3:] += randn(1, 4, 3, REGIMES, seed=1)
    one, other = chain.forward(evidence), chain.forward(changed)
    assert torch.equal(one[:, :, :4], other[:, :, :4])
    assert not torch.allclose(one[:, :, 4:], other[:, :, 4:])
    assert_close(one.logsumexp(-1), torch.zeros(1, 4, 7).double())


def test_the_filter_stays_finite_where_densities_underflow():
    chain = regimes().chain
    evidence = 1e4 * randn(1, 4, 6, REGIMES)
    assert chain.forward(evidence).isfinite().all()
    assert chain.backward(evidence).isfinite().all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rank=st.integers(0, 2), floor=st.sampled_from([0.0, 1.5]))
def test_no_pass_lowers_the_likelihood_under_the_prior(seed, rank, floor):
    block = observed(paths=12, length=9, seed=seed, dim=3)
    model = regimes(rank=rank, seed=seed, dim=3)
    model = Regimes(
        model.coefficients, model.variance.clamp(min=floor), model.columns, model.chain
    )
    belief, pieces = prior(dim=3, floor=floor), departures(block)
    passes = islice(climb(model, pieces, belief), 8)
    values = torch.cat([sums.log_likelihood + belief.log_density(now) for now, sums in passes])
    assert (values.diff() > -1e-8 * values.abs().max()).all()
    assert values[-1] > values[0] + 1e-3


def test_pieces_and_members_change_nothing():
    block, model = observed(paths=7), regimes(members=2)
    whole, cut = expected(model, departures(block)), expected(model, departures(block, size=5))
    alone = expected(model[1:2], departures(block))
    assert len(list(departures(block, size=5))) == 7
    for name, value in vars(whole).items():
        assert_close(getattr(cut, name), value)
        if name != "transitions":
            assert_close(getattr(alone, name)[0], value[1])


def test_one_regime_without_penalty_is_least_squares():
    block = observed(paths=40, length=9)
    model, pieces = regimes(rank=0), departures(block)
    one = Regimes(
        model.coefficients[:, :1],
        model.variance[:, :1],
        model.columns[:, :1],
        Chain(torch.zeros(1, 1).double(), torch.zeros(1, 1, 1).double()),
    )
    free = Prior(torch.zeros(DIM + 1).double(), torch.zeros(DIM).double(), torch.zeros(DIM))
    (_, _), (found, _) = islice(climb(one, pieces, free), 2)
    (piece,) = pieces
    solution = torch.linalg.lstsq(piece.features, piece.residual)
    assert_close(found.coefficients[0, 0], solution.solution)
    error = piece.residual - piece.features @ solution.solution
    # the prior's own observation has no variance here, but it is counted
    assert_close(found.variance[0, 0], error.square().sum(0) / (len(error) + 1))
