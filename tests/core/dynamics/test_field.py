"""Fields in a plane, whose derivatives are known."""

import pytest
import torch

from sdelens.dynamics.field import averaged, sliced
from sdelens.dynamics.plane_grid import PlaneGrid
from sdelens.dynamics.sample import Sample
from sdelens.errors import UsageError
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

TURN = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=torch.float64)


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def test_a_rotation_has_no_divergence_and_twice_its_rate_as_curl():
    field = sliced(lambda z: z @ TURN.mT, normals(30, 2))
    assert torch.allclose(field.divergence, torch.zeros(30).double(), atol=1e-12)
    assert torch.allclose(field.curl, torch.full((30,), 4.0).double())


def test_a_cubic_field_has_its_closed_form_divergence_and_curl():
    nodes = normals(30, 2)
    a, b = nodes.unbind(-1)
    field = sliced(
        lambda z: torch.stack([z[..., 0] ** 2 * z[..., 1], -(z[..., 1] ** 3)], -1), nodes
    )
    assert torch.allclose(field.divergence, 2 * a * b - 3 * b**2)
    assert torch.allclose(field.curl, -(a**2))


def test_the_expectation_of_a_linear_field_is_that_field_wherever_the_data_lie():
    points = normals(3000, 2)
    document = torch.arange(3000) % 20
    nodes = torch.tensor([[0.0, 0.0], [1.5, -1.0], [-2.0, 0.5]], dtype=torch.float64)
    width = torch.tensor([0.4, 0.4], dtype=torch.float64)
    field = averaged(nodes, points, points @ TURN.mT + 1, document, width=width, seed=0)
    assert torch.allclose(field.value, nodes @ TURN.mT + 1, atol=1e-3)
    assert torch.allclose(field.divergence, torch.zeros(3).double(), atol=1e-3)
    assert torch.allclose(field.curl, torch.full((3,), 4.0).double(), atol=1e-3)


def test_errors_of_an_expectation_are_those_of_documents_that_differ():
    """Values that are the same within a document have its mean's error, not that of states."""
    shared = normals(40, 1, seed=2)
    document = torch.arange(4000) % 40
    points = normals(4000, 2, seed=3)
    values = shared[document].expand(-1, 2)
    nodes, width = torch.zeros(1, 2, dtype=torch.float64), torch.full((2,), 1e4).double()
    field = averaged(nodes, points, values, document, width=width, seed=0)
    expected = float(shared.std()) / 40**0.5
    # 200 replicates tell a deviation to 5%
    assert field.value_stderr[0].tolist() == pytest.approx([expected] * 2, rel=0.2)


def test_one_document_gives_no_error():
    points = normals(100, 2)
    one, width = torch.zeros(100, dtype=torch.long), torch.ones(2).double()
    field = averaged(points[:3], points, points, one, width=width, seed=0)
    assert field.value_stderr is None


def test_a_grid_counts_the_points_nearest_to_its_nodes():
    corners = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0], [4.0, 2.0]])
    grid = PlaneGrid.over(corners.repeat(500, 1), cells=3)
    assert grid.count.tolist() == [[500, 0, 500], [0, 0, 0], [500, 0, 1000]]
    assert grid.nodes[5].tolist() == [4.0, 1.0]
    assert grid.filled(600).nonzero().ravel().tolist() == [8]


def test_a_sample_spreads_over_documents_and_keeps_what_followed():
    states = torch.arange(24.0).view(4, 6, 1)
    sample = Sample.of(Trajectories.from_states(states, 1.0), most=7)
    assert len(sample.x) <= 7
    assert sample.documents == 4
    assert torch.equal(sample.following, sample.x + 1)
    assert sample.last() <= 4


def test_paths_without_a_transition_cannot_be_sampled():
    with pytest.raises(UsageError, match="transition"):
        Sample.of(Trajectories.from_states(torch.zeros(3, 1, 2), 1.0))
