"""The needs of an analyzer, with studies that meet them and studies that do not."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.laws.law import Kernel
from sdelens.protocols import NEEDS
from sdelens.runs.needs import LACKS, reads_attention, require_needs
from sdelens.testing.small_model import small_model
from sdelens.testing.small_study import PROMPT, small_study
from tests.spoken import Closed


@dataclass(frozen=True)
class Needing:
    """Needs some things."""

    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "run"
    needs: frozenset

    def analyze(self, study, *, seed):
        raise AssertionError("needs are checked before any work")


def without_sde(study):
    """The first fit is a law, no SDE."""
    view, viewed = next(iter(study.views.items()))
    law = Kernel(viewed.fitted.law.mean, viewed.fitted.law.noise)
    other = replace(viewed, fitted=replace(viewed.fitted, law=law))
    return replace(study, views={**study.views, view: other})


@pytest.fixture(scope="module")
def study():
    """A study that has everything."""
    return replace(small_study(members=2), prompt=PROMPT)


LACKING = {
    "sde": (without_sde, "the analyzer mine needs an SDE, but .* L00 .* not an SDE: fit with"),
    "ensemble": (
        lambda _: small_study(),
        "ensemble, .* L00 has none: fit with --ensemble 5",
    ),
    "prompt": (lambda study: replace(study, prompt=None), 'needs a prompt: add --prompt "…"'),
    "model": (
        lambda study: replace(study, model=None),
        "needs the model .*: give it to sdelens.load",
    ),
    "attention": (
        lambda study: replace(study, model=Closed(study.model)),
        "needs attention patterns, which the adapter of small does not read: load the model",
    ),
}


def test_every_need_is_checked():
    assert LACKS.keys() == LACKING.keys() == set(NEEDS)


@pytest.mark.parametrize("need", NEEDS)
def test_a_need_that_is_met_is_no_error_and_one_that_is_not_says_what_to_do(study, need):
    analyzer, (lacking, said) = Needing(frozenset({need})), LACKING[need]
    require_needs(analyzer, "mine", study)
    with pytest.raises(UsageError, match=said):
        require_needs(analyzer, "mine", lacking(study))
    require_needs(Needing(frozenset()), "mine", lacking(study))


def test_attention_needs_a_model(study):
    with pytest.raises(UsageError, match="needs the model of the run"):
        require_needs(Needing(frozenset({"attention"})), "mine", replace(study, model=None))


def test_only_the_needs_that_are_named_are_checked(study):
    lacking = replace(study, model=None, prompt=None)
    with pytest.raises(UsageError, match="prompt"):
        require_needs(Needing(frozenset({"prompt", "model"})), "mine", lacking, ["prompt"])
    require_needs(Needing(frozenset({"model"})), "mine", lacking, ["prompt"])


def test_looking_for_attention_leaves_the_model_as_it_was():
    model, tokens = small_model(), torch.tensor([[0, 1, 2]])
    before = model.run(tokens, logits=True).logits
    assert reads_attention(model)
    assert torch.equal(model.run(tokens, logits=True).logits, before)
