import math

import pytest
import torch
from torch.nn.functional import silu

from sdelens.laws.network import Clock, Network

SIZES = (3, 7, 5, 2)


@pytest.fixture
def stack():
    """Three networks, the last layer drawn too."""
    fresh = Network.stack(SIZES, 3, seed=0)
    random = torch.Generator().manual_seed(1)
    return Network.restore(
        {name: torch.randn(t.shape, generator=random) for name, t in fresh.tensors().items()}
    )


def test_a_fresh_stack_is_zero_everywhere():
    x = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Network.stack(SIZES, 4, seed=0)(x), torch.zeros(4, 11, 2))


def test_hidden_weights_have_the_variance_of_one_third_over_the_fan_in():
    weight = Network.stack((400, 300, 2), 2, seed=0).weights[0]
    count = weight[0].numel()
    for member in weight:
        # that of a uniform draw on ±1/sqrt(fan-in); a sample variance v has that of 2 v^2 / n
        assert abs(3 * 400 * member.var() - 1) < 4 * math.sqrt(2 / count)


def test_the_seed_fixes_the_weights_and_members_differ():
    first, again, other = (Network.stack(SIZES, 2, seed=seed).weights[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_a_stacks_output_is_each_members_own(stack):
    x = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
    together = stack(x)
    assert together.shape == (3, 11, 2)
    for index in range(3):
        torch.testing.assert_close(stack.member(index)(x), together[index])


def test_a_member_is_linear_maps_with_silu_between_them(stack):
    member = stack.member(1)
    x = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    hidden = silu(
        silu(x @ member.weights[0] + member.biases[0]) @ member.weights[1] + member.biases[1]
    )
    expected = hidden @ member.weights[2] + member.biases[2]
    torch.testing.assert_close(member(x), expected)


def test_a_network_of_one_layer_is_linear():
    assert Network.stack((3, 2), 2, seed=0)(torch.ones(5, 3)).shape == (2, 5, 2)


def test_layers_of_different_sizes_always_pass_the_shape_checks():
    # the checks look at one layer of each kind, drawn at random: many tries would show a clash
    for seed in range(50):
        Network.stack(SIZES, 2, seed=seed).member(0)


def test_restore_is_the_inverse_of_tensors_beyond_ten_layers():
    deep = Network.stack([2] * 13, 1, seed=0)
    back = Network.restore(deep.tensors())
    assert all(map(torch.equal, deep.parameters(), back.parameters()))


def test_a_clock_has_its_size_and_clamps_outside_of_the_fitted_times():
    clock = Clock(10.0, 20.0, waves=3)
    t = torch.tensor([[-5.0, 10.0, 12.5], [20.0, 21.0, 1e9]])
    features = clock(t)
    assert features.shape == (2, 3, clock.size) == (2, 3, 6)
    torch.testing.assert_close(features[0, 0], features[0, 1])
    torch.testing.assert_close(features[1, 0], features[1, 2])


def test_a_clocks_features_are_sines_then_cosines():
    quarter = Clock(0.0, 4.0, waves=2)(torch.tensor(1.0))
    angle = math.pi / 4
    expected = [math.sin(angle), math.sin(2 * angle), math.cos(angle), math.cos(2 * angle)]
    torch.testing.assert_close(quarter, torch.tensor(expected))


def test_a_clock_of_one_time_is_finite():
    assert Clock(3.0, 3.0)(torch.tensor([3.0, 4.0])).isfinite().all()
