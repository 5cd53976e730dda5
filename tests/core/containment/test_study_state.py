"""What an analyzer is given is as before for the next one."""

import pytest
import torch
from torch import nn

from sdelens.containment import study_state
from sdelens.containment.contained import Unrestorable, contained
from sdelens.containment.study_state import parts_of
from sdelens.testing.promises import state_of_study
from sdelens.testing.small_study import small_study


def module_of(study):
    """The Hugging Face model inside the adapter."""
    return next(one for one in study_state._held(study.model, set()) if isinstance(one, nn.Module))


def parameter_of(study):
    return next(module_of(study).parameters())


def law_of(study):
    return next(iter(study.views.values())).fitted.law


CHANGES = {
    "a weight": lambda study: parameter_of(study).data.mul_(2),
    "a weight is not a number": lambda study: parameter_of(study).data.fill_(torch.nan),
    "the fit": lambda study: next(iter(law_of(study).tensors().values())).add_(1),
    "the documents": lambda study: study.documents.tokens.zero_(),
    "a hook": lambda study: module_of(study).register_forward_hook(print),
    "a hook inside": lambda study: [*module_of(study).modules()][-1].register_forward_hook(print),
    "another forward": lambda study: setattr(module_of(study), "forward", print),
    "the mode": lambda study: module_of(study).train(),
    "another parameter": lambda study: setattr(
        next(m for m in module_of(study).modules() if isinstance(m, nn.LayerNorm)),
        "weight",
        nn.Parameter(torch.zeros(8)),
    ),
    "frozen": lambda study: parameter_of(study).requires_grad_(
        not parameter_of(study).requires_grad
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_a_plugin_is_given_is_restored_and_named(name, capsys):
    study = small_study()
    before = state_of_study(study)
    with contained("the analyzer odd", parts=parts_of(study)):
        CHANGES[name](study)
    assert state_of_study(study) == before
    assert vars(module_of(study)).get("forward") is not print
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("the analyzer odd changed ")


def test_an_analysis_that_runs_the_model_changes_nothing(capsys):
    study = small_study()
    with contained("the analyzer good", parts=parts_of(study)):
        study.model.run(torch.zeros(1, 4, dtype=torch.long), logits=True)
    assert capsys.readouterr().err == ""


def test_a_change_of_tensors_too_large_to_copy_is_an_error(monkeypatch):
    weight = nn.Linear(64, 64).weight
    monkeypatch.setattr(study_state, "KEPT", 1000)
    with contained("the analyzer good", parts=parts_of([weight])):
        pass
    lost = pytest.raises(Unrestorable, match="too large to have been copied")
    with lost, contained("the analyzer odd", parts=parts_of([weight])):
        weight.data.neg_()
