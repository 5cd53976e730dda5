import warnings

import pytest
import torch

from sdelens.laws.resolution import REACH, StepTooLong, density_for, step_jacobian, warn_beyond
from sdelens.laws.sde import LinearSDE
from sdelens.paths.trajectories import Trajectories


def test_the_statistic_of_a_linear_process_is_its_largest_singular_value_times_dt():
    matrix = torch.tensor([[-1.0, 3.0, 0.0], [0.0, -2.0, 0.5], [0.3, 0.0, -1.0]])
    eye = torch.eye(3)
    sde = LinearSDE(matrix, torch.zeros(1), eye[:1], eye, eye, eye[:1], eye, dt=0.1)
    paths = Trajectories.from_states(torch.zeros(4, 5, 3), 0.1)
    expected = float(torch.linalg.matrix_norm(matrix, 2)) * 0.1
    assert step_jacobian(sde, paths) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("turn", "dim", "additive", "expected"),
    [
        (0.01, 2, False, "euler"),
        (0.3, 2, False, "kessler"),
        (0.3, 100, False, "kessler"),
        (0.8, 2, False, "ozaki"),
        (0.8, 2, True, "strang"),
        (0.8, 40, True, "strang"),
        (0.8, 100, False, "kessler"),
    ],
)
def test_the_cheapest_density_within_reach_is_chosen(turn, dim, additive, expected):
    assert density_for(turn, dim, additive=additive) == expected


def test_a_density_out_of_its_reach_is_warned_of_and_a_better_one_named():
    with pytest.warns(
        StepTooLong, match=r"\|J\|dt is 0\.3 .*euler.* up to 0\.05: use --density k"
    ):
        warn_beyond("euler", 0.3, 2)
    with pytest.warns(StepTooLong, match="observe it more often"):
        warn_beyond("kessler", 0.8, 100)
    with pytest.warns(StepTooLong, match="observe it more often"):
        warn_beyond("ozaki", 5.0, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for density, reach in REACH.items():
            warn_beyond(density, reach, 2)
