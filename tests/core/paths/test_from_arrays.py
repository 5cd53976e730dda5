import re

import numpy as np
import pytest
import torch

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.from_arrays import GivenPaths, document_groups

NAN = float("nan")


def of(states):
    return GivenPaths.of(states, 0.5)


def lengths(given):
    return given.paths.mask.sum(1).tolist()


@pytest.mark.parametrize("kind", [torch.tensor, np.array, list])
def test_a_list_of_paths_of_unequal_length_is_padded(kind):
    given = of([kind([[1.0, 2.0]] * n) for n in (3, 1, 4)])
    assert given.paths.states.shape == (3, 4, 2)
    assert lengths(given) == [3, 1, 4]
    assert given.paths.times.tolist() == [[0.0, 0.5, 1.0, 1.5]]
    assert given.notes == ("1 of 3 paths without two consecutive states left out.",)


def test_an_object_array_and_a_tuple_are_lists_of_paths():
    paths = [np.ones((n, 2)) for n in (2, 3)]
    several = np.empty(2, dtype=object)
    several[:] = paths
    for given in (of(several), of(tuple(paths))):
        assert lengths(given) == [2, 3]


def test_empty_paths_keep_their_number():
    given = of([torch.ones(3, 2), torch.ones(0, 2), np.array([]), [], torch.zeros(2, 2)])
    assert lengths(given) == [3, 0, 0, 0, 2]
    assert given.paths.document.tolist() == [0, 1, 2, 3, 4]
    assert "3 of 5 paths without two" in given.notes[0]


def test_nan_at_an_end_shortens_a_path_and_nan_inside_is_a_gap():
    states = torch.ones(3, 5, 2)
    states[0, 3:] = NAN
    states[1, 0, 1] = NAN
    states[2, 2, 0] = NAN
    given = of(states)
    assert given.paths.mask.tolist() == [
        [True, True, True, False, False],
        [False, True, True, True, True],
        [True, True, False, True, True],
    ]
    assert given.paths.states.isfinite().all()
    assert given.notes == (
        "1 state with NaN inside 1 path counts as missing: no transition or lag uses it.",
    )


def test_whole_states_have_no_note():
    assert of(torch.ones(3, 5, 2)).notes == ()


def test_a_path_without_a_state_is_left_out_and_counted():
    states = torch.ones(3, 4, 2)
    states[1] = NAN
    assert of(states).notes == ("1 of 3 paths without two consecutive states left out.",)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float64),
    ],
)
def test_no_digit_is_lost(given, kept):
    states = torch.full((2, 3, 1), 3, dtype=given)
    assert of(states).paths.states.dtype == kept
    assert of([states[0], states[1, :2]]).paths.states.dtype == kept


def test_a_list_of_mixed_types_has_the_most_exact_one():
    exact = 1e8 + torch.ones(2, 1, dtype=torch.float64)
    assert (of([exact, torch.ones(3, 1)]).paths.states[0, 0] == 1e8 + 1).all()


@pytest.mark.parametrize(
    ("states", "said"),
    [
        (torch.ones(3, 4), r"\(3, 4\).*states\[\.\.\., None\]"),
        (torch.ones(4), r"\(4,\)"),
        (torch.ones(2, 3, 0), r"\(2, 3, 0\)"),
        (torch.ones(2, 3, 4, 5), r"\(2, 3, 4, 5\)"),
        (torch.ones(2, 3, 1, dtype=torch.complex64), "real numbers"),
        (torch.ones(2, 3, 1, dtype=torch.bool), "real numbers"),
        ([torch.ones(3), torch.ones(4)], r"path 0 of shape \(3,\).*path\[:, None\]"),
        ([torch.ones(3, 2), torch.ones(3, 1)], r"path 1 of shape \(3, 1\) beside .*\(3, 2\)"),
        ([[[1.0, 2.0], [1.0]]], "list"),
        ([], "0 paths without a state"),
        ([[], []], "2 paths without a state"),
        ("states.npy", "got str"),
        (["a", "b"], "got str"),
    ],
)
def test_other_shapes_and_types_are_one_clear_error(states, said):
    with pytest.raises(UsageError, match=r"states must be \[path, time, dim\]") as caught:
        of(states)
    assert re.search(said, str(caught.value)), caught.value


def test_a_coordinate_that_is_always_nan_is_named():
    states = torch.ones(3, 4, 3)
    states[..., 1] = NAN
    with pytest.raises(UsageError, match=r"coordinates 1 \(from 0\) are NaN in every state"):
        of(states)


@pytest.mark.parametrize("states", [{"states": torch.ones(2, 3, 1)}, 3.0, None])
def test_what_is_no_array_is_the_same_error(states):
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)  # as for a user, without type checks
    try:
        with pytest.raises(UsageError, match=f"got {type(states).__name__}"):
            of(states)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_masked_values_are_missing_and_any_layout_of_an_array_is_read():
    array = np.random.default_rng(0).normal(size=(3, 6, 2))
    masked = np.ma.masked_array(array.copy(), mask=np.zeros_like(array, dtype=bool))
    masked[:, 4:] = np.ma.masked
    assert GivenPaths.of(masked, 1.0).paths.mask.sum(1).tolist() == [4, 4, 4]
    for other in (array[:, ::-1][:, ::-1], np.asfortranarray(array), array.astype(">f8")):
        assert torch.equal(GivenPaths.of(other, 1.0).paths.states, torch.from_numpy(array))
    turned = GivenPaths.of(array[:, ::-1], 1.0).paths.states
    assert torch.equal(turned, torch.from_numpy(array[:, ::-1].copy()))


def test_equal_paths_are_one_group_and_still_ones_are_not():
    moving, still = torch.randn(1, 5, 2).expand(3, 5, 2), torch.zeros(2, 5, 2)
    groups = document_groups(GivenPaths.of([*moving, *still], 1.0).paths)
    assert groups == {0: 0, 1: 0, 2: 0, 3: 3, 4: 4}


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e40])
def test_infinity_and_very_large_numbers_are_named_by_path_time_and_coordinate(value):
    states = np.ones((3, 5, 2))
    states[0, 2] = NAN
    states[1, 4, 1] = states[2, 0, 0] = value
    where = r"path 1 has \S+ at time 2 \(observation 4\), coordinate 1, the first of 2 numbers"
    with pytest.raises(BadNumbers, match=where):
        of(states)
    with pytest.raises(BadNumbers, match=where):
        of(list(states))


def test_an_infinity_in_a_missing_state_is_missing_with_it():
    states = torch.ones(2, 4, 2)
    states[0, 3] = torch.tensor([NAN, torch.inf])
    assert lengths(of(states)) == [3, 4]


def test_units_that_a_basis_can_hold_are_taken():
    assert of(torch.full((2, 3, 1), 1e30)).paths.states.max() == pytest.approx(1e30)
