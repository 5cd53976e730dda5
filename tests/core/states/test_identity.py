"""Weights and hooks of a model against the card of another."""

from dataclasses import replace

import pytest

from sdelens.models import language_model
from sdelens.origin import ModelCard
from sdelens.states.identity import UNNAMED, hooks_of, identified, other_hooks, other_weights
from sdelens.states.reference import reference_states
from tests.core.states.test_reference import Changed
from tests.small import small_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return language_model(small_model(tmp_path_factory.mktemp("models") / "small"), device="cpu")


@pytest.fixture
def elsewhere(model):
    """The card of the same model in a library that gives its weights other shapes."""
    return replace(identified(model), layout="Elsewhere", fingerprint="0" * 64)


def test_a_card_comes_back_from_json(model):
    card = replace(identified(model), hooks=("a at b",))
    saved = vars(card) | {"hooks": ["a at b"], "reference": [list(r) for r in card.reference]}
    assert ModelCard(**saved) == card
    old = {k: v for k, v in saved.items() if k not in ("hooks", "reference", "layout")}
    assert ModelCard(**old).hooks == ()


def test_another_layout_of_the_weights_is_compared_by_its_states(model, elsewhere):
    assert other_weights(elsewhere, model) == ()
    off = [tuple(number + 1e-3 for number in row) for row in elsewhere.reference]
    changed = replace(elsewhere, reference=tuple(off))
    assert [each.what for each in other_weights(changed, model)] == ["fingerprint"]
    unknown = replace(elsewhere, reference=())
    assert [each.what for each in other_weights(unknown, model)] == ["fingerprint"]


def test_the_same_layout_needs_the_same_fingerprint(model, elsewhere):
    other = replace(elsewhere, layout="")
    assert [each.what for each in other_weights(other, model)] == ["fingerprint"]


def test_half_precision_does_not_tell_weights_apart_by_their_states(model, elsewhere):
    half = Changed(model, lambda states: states)
    half.card = replace(model.card, dtype="bfloat16")
    made = replace(elsewhere, dtype="bfloat16")
    assert [each.what for each in other_weights(made, half)] == ["fingerprint"]


def test_hooks_of_a_model_that_does_not_name_them_are_compared_by_what_they_do(model):
    hooked = Changed(model, lambda states: states + 1)
    hooked.hooked = lambda: True
    assert hooks_of(hooked) == (UNNAMED,)
    [found] = other_hooks(identified(model), hooked)
    assert str(found) == "hooks none there, unnamed hooks here"
    assert other_hooks(identified(hooked), hooked) == ()
    more = Changed(model, lambda states: states + 2)
    more.hooked = hooked.hooked
    [found] = other_hooks(identified(hooked), more)
    assert found.here == "others under the hooks unnamed hooks"
    assert reference_states(hooked) != reference_states(more)
