import pytest
import torch
from torch.testing import assert_close

from sdelens.estimation.additive import Terms, least_squares
from sdelens.estimation.centred import Centred
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories


def moving_paths():
    """Ragged paths whose mean moves with the position."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(30, 7, 3, generator=random)
    block = Trajectories.from_states(noise.cumsum(1) + torch.arange(7)[:, None] + 4, 0.5)
    ends = torch.randint(2, 8, (30, 1), generator=random)
    ends[0] = 7
    return Trajectories(
        block.states, torch.arange(7) < ends, block.times, block.tokens, block.document
    )


@pytest.mark.parametrize("position", [True, False])
def test_the_best_matrix_beside_eliminated_effects_is_least_squares(position):
    block = moving_paths()
    moments = Moments.of(block, times_of(block))
    centred = Centred.of(moments, position=position, shrinkage=4.0)
    mean = centred.mean(torch.linalg.solve(centred.xx, centred.xy).mT)
    terms = Terms(state=True, position=position)
    truth = least_squares(moments, terms, ridge=0.0, shrinkage=4.0)
    assert_close(mean.matrix, truth.matrix, rtol=1e-7, atol=1e-7)
    assert_close(mean.by_time, truth.by_time, rtol=1e-6, atol=1e-6)
