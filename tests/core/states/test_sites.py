"""Layers by name."""

import pytest

from sdelens.errors import UsageError
from sdelens.states.sites import parse_layers, resolve_layers


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [
        ("6", (6,)),
        (6, (6,)),
        ("0-3", (0, 1, 2, 3)),
        ("5,2", (2, 5)),
        ("2, 5", (2, 5)),
        ([2, 5, 2], (2, 5)),
        ("-1", (11,)),
        ([-1, 0], (0, 11)),
        ("embed", ("embed",)),
        ("2,embed", ("embed", 2)),
        ("all", tuple(range(12))),
        ("embed,all,-1", ("embed", *range(12))),
        (None, (6,)),
    ],
)
def test_every_way_to_name_layers_is_understood(layers, numbers):
    assert resolve_layers(layers, blocks=12) == numbers


def test_the_middle_block_is_the_default():
    assert resolve_layers(None, blocks=5) == (2,)
    assert resolve_layers(None, blocks=1) == (0,)


@pytest.mark.parametrize("layers", ["12", "-13", "0-12", [3, 99]])
def test_a_layer_out_of_range_says_how_many_there_are(layers):
    with pytest.raises(UsageError, match=r"gpt2 has 12 blocks, numbered 0 to 11"):
        resolve_layers(layers, 12, "gpt2")


@pytest.mark.parametrize("text", ["", "six", "3-1", "1.5", "2,,3", "0..7", "--1"])
def test_what_names_no_layer_is_refused_without_a_model(text):
    with pytest.raises(UsageError, match="a range 0-7"):
        parse_layers(text)
