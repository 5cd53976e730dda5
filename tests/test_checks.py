"""What the type checker of the tests looks at."""

import pytest
from beartype.roar import BeartypeCallHintParamViolation

from tests import checks


@checks.beartype
def whole(number: int) -> int:
    return number


def refused(number):
    try:
        whole(number)
    except BeartypeCallHintParamViolation:
        return True
    return False


@pytest.mark.parametrize("_again", [1, 2])
def test_the_first_calls_in_each_test_are_checked_and_later_ones_now_and_then(_again):
    found = [refused("one") for _ in range(checks.FIRST + 10 * checks.OFTEN)]
    assert all(found[: checks.FIRST])
    assert sum(found[checks.FIRST :]) == 10


def test_a_function_in_a_function_is_compiled_once():
    def outer(kind):
        @checks.beartype
        def inner(value: kind):
            return value

        return inner

    assert outer(int) is outer(int)
    with pytest.raises(BeartypeCallHintParamViolation):
        outer(str)(1)


def test_shapes_are_checked_in_all_packages():
    import torch
    from jaxtyping import TypeCheckError

    from sdelens.paths.trajectories import Trajectories
    from sdelens_plugins.probes.token import TokenProbe

    with pytest.raises(TypeCheckError):
        Trajectories.from_states(torch.zeros(3), 1.0)
    with pytest.raises(TypeCheckError):
        TokenProbe().restore({}, "no tensors")


def test_no_call_is_checked_while_the_checks_are_paused():
    with checks.paused():
        assert not refused("one")
    assert refused("one")
