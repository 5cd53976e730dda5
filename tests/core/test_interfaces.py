"""What protocols declare is checked when a plugin is loaded; messages say what to write."""

from dataclasses import dataclass
from typing import ClassVar

import pytest

import sdelens
from sdelens.declarations import members, problems
from sdelens.errors import BrokenPlugin
from sdelens.interfaces import OPTIONAL, REQUIRED, build_plugin, load, problems_of
from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Versioned
from sdelens.registry import KINDS, Plugin, forget, plugin, plugins, register, registered
from tests.chain import Chain

REGISTERED = ("source", "probe", "analyzer", "reporter")


@pytest.fixture(autouse=True)
def own_session():
    """What a test registers is gone after it."""
    before = registered()
    yield
    forget(before)


def complete(kind, **changed):
    """A class with all that the protocol of a kind declares, some of it changed or left out."""
    names = {"source": "sampled", "probe": "linear", "analyzer": "losses", "reporter": "figures"}
    built_in = plugin(kind, names[kind]).load()
    own = {name: getattr(built_in, name) for name in members(REQUIRED[kind])} | changed
    return type("Mine", (), {name: value for name, value in own.items() if value is not None})


@pytest.mark.parametrize("kind", KINDS)
def test_every_built_in_plugin_has_what_is_declared(kind):
    for found in plugins(kind).values():
        assert list(problems_of(found.load(), kind)) == []


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in REGISTERED for name in members(REQUIRED[kind])]
)
def test_what_is_missing_is_named_with_what_to_write(kind, name):
    getattr(sdelens, kind)("mine")(complete(kind, **{name: None}))
    with pytest.raises(
        BrokenPlugin, match=rf"^the {kind} 'mine' of .* has no {name}: write .*{name}"
    ):
        load(kind, "mine")


@pytest.mark.parametrize(
    ("kind", "changed", "said"),
    [
        (
            "analyzer",
            {"scope": "layer"},
            "scope = 'layer', which must be str out of view, run",
        ),
        ("analyzer", {"needs": {"sde"}}, r"has needs = {'sde'}, which must be frozenset\[str\]"),
        ("analyzer", {"wants": frozenset({"modle"})}, "wants = .*'modle'"),
        (
            "analyzer",
            {"analyze": 3},
            r"has no method analyze: write def analyze\(self, study, \*, seed\)",
        ),
        (
            "probe",
            {"looks_back": "no"},
            "looks_back = 'no', which must be bool: write looks_back = False",
        ),
        ("probe", {"densities": ["exact"]}, r"densities = \['exact'\], which must be tuple"),
        ("probe", {"density": 3}, "has density = 3, which must be str: write density: str"),
        ("probe", {"effort": 3}, r"has no method effort: write def effort\(self, dim\)"),
        ("source", {"documents_wanted": "12"}, "documents_wanted = '12', which must be int"),
        ("source", {"length": 1.5}, "length = 1.5, which must be int"),
        ("reporter", {"svg": 3}, r"has no method svg: write def svg\(self, figure\)"),
    ],
)
def test_what_is_of_another_type_is_named_with_what_to_write(kind, changed, said):
    getattr(sdelens, kind)("mine")(complete(kind, **changed))
    with pytest.raises(BrokenPlugin, match=f"^the {kind} 'mine' of .*{said}"):
        load(kind, "mine")


def test_what_is_optional_may_be_left_out_of_any_plugin():
    for kind in REGISTERED:
        bare = complete(kind)
        getattr(sdelens, kind)("mine")(bare)
        assert load(kind, "mine") is bare
    assert OPTIONAL, "and it is declared"


def test_values_that_only_an_instance_has_are_checked_too():
    @sdelens.source("late")
    @dataclass(frozen=True)
    class Late:
        @property
        def documents_wanted(self):
            return "12"

        def documents(self, model, *, seed):
            yield from ()

    said = "the source 'late' has documents_wanted = '12', which must be int: write"
    with pytest.raises(BrokenPlugin, match=said):
        build_plugin("source", "late", {})


def test_a_model_of_its_users_own_making_is_taken_if_it_is_complete():
    chain = Chain()
    assert language_model(chain) is chain


def test_an_adapter_may_take_its_settings_as_declared():
    class Toy:
        pass

    class ToyAdapter:
        @classmethod
        def adapt(cls, model, **settings):
            assert settings == {"tokenizer": "words"}
            return Chain()

    root = Toy.__module__.partition(".")[0]
    target = f"{root}:ToyAdapter"
    register(Plugin("model", root, "toys", "1.0", target, lambda: ToyAdapter))
    assert isinstance(language_model(Toy(), tokenizer="words"), Chain)


@pytest.mark.parametrize("name", members(LanguageModel))
def test_a_model_that_lacks_something_is_told_what(name):
    own = {n: getattr(Chain, n) for n in members(LanguageModel) if n != name}
    lacking = type("Mine", (), own)()
    (problem,) = problems(lacking, LanguageModel)
    assert problem.startswith(f"has no {name}: write")
    if name != "card":
        with pytest.raises(BrokenPlugin, match=f"the language model Mine has no {name}: write"):
            language_model(lacking)


def test_a_plugin_without_a_version_is_of_the_first():
    class Old:
        api: ClassVar[int] = 1

    assert isinstance(Old, Versioned)
    assert not isinstance(complete("probe"), Versioned)
