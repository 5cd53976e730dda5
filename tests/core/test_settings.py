"""Settings of plugins."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from sdelens.errors import UnknownName, UsageError
from sdelens.interfaces import build_plugin
from sdelens.settings import build, described, parse_assignments


@dataclass(frozen=True)
class Kettle:
    litres: int = 1
    power: float = 2.0
    lid: bool = True
    label: str | None = None
    shape: Literal["round", "square"] = "round"


def test_settings_make_a_round_trip_through_json():
    kettle = build(Kettle, {"litres": 2, "power": 1.5, "shape": "square"}, "kettle")
    assert build(Kettle, json.loads(json.dumps(described(kettle))), "kettle") == kettle


def test_every_registered_plugins_defaults_make_a_round_trip():
    from sdelens_plugins.sources.sampled import SampledSource

    source = SampledSource(temperature=0.5)
    assert build(SampledSource, described(source), "source") == source


def test_a_whole_number_will_do_for_a_float_and_becomes_one():
    power = build(Kettle, {"power": 3}, "kettle").power
    assert power == 3.0
    assert type(power) is float


def test_an_unknown_setting_offers_the_nearest():
    with pytest.raises(UnknownName, match=r"No setting of kettle named 'litre'.*'litres'"):
        build(Kettle, {"litre": 2}, "kettle")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("litres", 1.5),
        ("litres", True),
        ("litres", "2"),
        ("power", "hot"),
        ("power", False),
        ("lid", 1),
        ("label", 3),
        ("shape", "oval"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(UsageError, match=rf"kettle\.{name} must be .*, got"):
        build(Kettle, {name: value}, "kettle")


def test_assignments_are_grouped_by_what_they_set():
    pairs = ["probe.width=256", "probe.rate=1e-3", "source.top_p=0.9", "probe.noise=a=b"]
    assert parse_assignments(pairs) == {
        "probe": {"width": 256, "rate": 1e-3, "noise": "a=b"},
        "source": {"top_p": 0.9},
    }


@pytest.mark.parametrize("pair", ["width=256", "probe.width", "probe.=1", ".width=1", ""])
def test_a_malformed_assignment_says_what_is_expected(pair):
    with pytest.raises(UsageError, match=r"KIND\.NAME=VALUE"):
        parse_assignments([pair])


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e400", str(10**30), "[" * 5000, "null", "true"]
)
@pytest.mark.parametrize("name", ["number", "count", "maybe"])
def test_numbers_that_json_or_torch_cannot_represent_are_refused_in_one_short_sentence(name, text):
    @dataclass(frozen=True)
    class Numbers:
        number: float = 0.0
        count: int = 0
        maybe: float | None = None

    value = parse_assignments([f"numbers.{name}={text}"])["numbers"][name]
    if name == "maybe" and text == "null":
        assert build(Numbers, {name: value}, "numbers").maybe is None
        return
    with pytest.raises(UsageError, match=f"numbers.{name} must be") as refused:
        build(Numbers, {name: value}, "numbers")
    assert len(str(refused.value)) < 200


def test_an_integer_is_accepted_as_a_float_and_a_seed_may_be_any_integer():
    @dataclass(frozen=True)
    class Numbers:
        maybe: float | None = None
        seed: int = 0

    built = build(Numbers, {"maybe": 3, "seed": 10**30}, "numbers")
    assert (type(built.maybe), built.seed) == (float, 10**30)


def test_a_needed_setting_that_is_missing_is_named():
    with pytest.raises(UsageError, match="file needs the setting path"):
        build_plugin("source", "file", {})


def test_a_long_name_is_shortened():
    with pytest.raises(UnknownName) as error:
        build_plugin("source", "x" * 5000, {})
    assert len(str(error.value)) < 500
