"""In which directions the next state scatters, against laws over points that are known."""

import pytest
import torch

from sdelens.branching.next_state_moments import NextStateMoments
from sdelens.branching.noise_directions import FOLDS, NoiseDirections, overlap
from sdelens.branching.token_choice import WeightedTokens
from sdelens.evidence.student import student
from sdelens.laws.law import Gaussian
from sdelens.laws.scale import DiagonalScale, FullScale
from sdelens.seeds import generator

POINTS = torch.tensor([[3.0, 0, 0], [-1, 1, 0], [0, 0, 2], [1, 1, 1]])
LAW = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
LENGTHS = torch.tensor([1.0, 4.0, 0.25], dtype=torch.float64)
"""Squared lengths of the latent coordinates."""


def every_point(prefixes):
    """The same law over points after each prefix, enumerated."""
    tokens = torch.arange(4).expand(prefixes, 4)
    return NextStateMoments.of(
        POINTS.expand(prefixes, 4, 3), WeightedTokens(tokens, LAW.expand(prefixes, 4), 0)
    )


def filled(units):
    spread = NoiseDirections(LENGTHS)
    mean = torch.tensor([0.5, -1.0, 2.0]).expand(len(units), 3)
    spread.add(every_point(len(units)), mean, units)
    return spread


def scaled(matrix):
    return LENGTHS.sqrt()[:, None] * matrix * LENGTHS.sqrt()


def test_noise_and_noise_about_a_fit_are_those_of_an_enumerated_law():
    points = POINTS.double()
    own = LAW @ points
    noise = ((points - own) * LAW[:, None]).mT @ (points - own)
    away = own - torch.tensor([0.5, -1.0, 2.0]).double()
    spread = filled(torch.arange(20))
    assert torch.allclose(spread.mean("sampler"), scaled(noise), atol=1e-6)
    assert torch.allclose(spread.mean("total"), scaled(noise + away.outer(away)), atol=1e-5)


def test_two_draws_of_each_prefix_give_both_without_bias():
    units = torch.arange(40_000) % 64
    tokens = torch.multinomial(LAW.expand(len(units), 4), 2, True, generator=generator(0))
    chosen = WeightedTokens(tokens, torch.full(tokens.shape, 0.5, dtype=torch.float64), 2)
    spread, exact = NoiseDirections(LENGTHS), filled(torch.arange(8))
    mean = torch.tensor([0.5, -1.0, 2.0]).expand(len(units), 3)
    spread.add(NextStateMoments.of(POINTS[tokens], chosen), mean, units)
    for kind in ("sampler", "total"):
        each = spread.sums[("sampler", "total").index(kind)] / spread.count[:, None, None]
        error = each.std(0) / FOLDS**0.5
        # 18 comparisons, one in a thousand in all, with a deviation of so few folds
        reach = student(1 - 1e-3 / 36, FOLDS)
        assert ((spread.mean(kind) - exact.mean(kind)).abs() < reach * error + 1e-6).all()


@pytest.mark.parametrize("constant", [True, False])
def test_the_covariance_of_a_fit_is_averaged_over_the_states_that_are_asked_for(constant):
    units, asked = torch.arange(60), torch.rand(60, 50, generator=generator(1)) < 0.5
    centre = torch.randn(60, 50, 3, generator=generator(2))
    root = torch.tensor([[1.0, 0, 0], [0.5, 1, 0], [0, -0.5, 2]])
    std = 1 + torch.rand(60, 50, 3, generator=generator(3))
    scale = FullScale(root) if constant else DiagonalScale(std)
    spread = NoiseDirections(LENGTHS)
    spread.add_fit(Gaussian(centre, scale), asked, units, seed=0)
    spread.count += torch.bincount(units[asked.nonzero()[:, 0]] % FOLDS, minlength=FOLDS)
    truth = root @ root.mT if constant else std[asked].square().mean(0).diag()
    size = 1e-5 if constant else 5 * 2**0.5 * 4 / (4 * int(asked.sum())) ** 0.5
    assert (spread.mean("fitted") - scaled(truth.double())).abs().max() < size * 4


def test_overlap_counts_the_shared_directions_of_leading_subspaces():
    one = torch.diag(torch.tensor([5.0, 4, 1, 1, 1, 0.5]))
    other = torch.diag(torch.tensor([5.0, 1, 4, 1, 1, 0.5]))
    assert float(overlap(one, other, 2)) == pytest.approx(0.5)
    assert float(overlap(one, one, 2)) == pytest.approx(1)
    turn = torch.tensor(0.3)
    rotation = torch.eye(6)
    rotation[:2, :2] = torch.stack([turn.cos(), -turn.sin(), turn.sin(), turn.cos()]).view(2, 2)
    turned = rotation @ one @ rotation.mT
    assert float(overlap(one, turned, 1)) == pytest.approx(float(turn.cos()) ** 2, rel=1e-5)


def test_an_overlap_of_one_document_has_no_error_and_of_many_like_ones_none_to_speak_of():
    alone, many = (filled(units) for units in (torch.zeros(5).long(), torch.arange(64)))
    for spread in (alone, many):
        spread.sums[2] = spread.sums[1]
    assert alone.overlap("fitted", "total", 1).stderr.isnan()
    found = many.overlap("fitted", "sampler", 1)
    assert float(found.stderr) < 1e-6
    assert float(many.overlap("fitted", "total", 1).value) == pytest.approx(1)
