"""All registered analyzers keep what an analyzer promises; the check sees those that do not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sdelens.models import language_model
from sdelens.registry import plugins
from sdelens.testing import check_analyzer
from sdelens.testing.analyzer_promises import ANALYZER, Asked
from sdelens.testing.promises import require_kept, state_of_model
from sdelens.testing.small_model import small_model
from sdelens_cli.screen import Screen, finding_json
from tests.core.testing.broken_analyzers import (
    EVERYWHERE,
    WRONG,
    Hooking,
    Moving,
    Replacing,
    Sound,
    Training,
    Writing,
)
from tests.quick import quick


@pytest.mark.parametrize("name", sorted(plugins("analyzer")))
def test_a_registered_analyzer_keeps_its_promises(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    asked = Asked(quick(name))
    require_kept(asked.analyzer, "an analyzer", ANALYZER, asked)
    finding = asked.finding
    json.dumps(finding_json(finding), allow_nan=False)
    Screen().findings([(finding, Path("analysis"))])
    shown = " ".join(capsys.readouterr().err.split())
    assert finding.headline.split()[-1] in shown
    assert all(estimate.number in shown for estimate in finding.estimates)


def test_a_sound_analyzer_passes():
    check_analyzer(Sound())


class Toy(nn.Module):
    """A buffer, and a hook point's list."""

    def __init__(self):
        super().__init__()
        self.words, self.point = nn.Embedding(9, 4), nn.Identity()
        self.register_buffer("scale", torch.ones(4))
        self.point.fwd_hooks = []

    def forward(self, ids):
        return self.point(self.words(ids) * self.scale)


def test_buffers_and_hook_points_belong_to_the_state_of_a_model():
    toy = Toy()
    model = language_model(toy, hook="point")
    before = state_of_model(model)
    toy.point.fwd_hooks.append(object())
    toy.scale.mul_(2)
    after = state_of_model(model)
    changed = {name for name, value in after.items() if before[name] != value}
    assert changed == {"the model's buffers", "the model's hooks"}


def test_pythons_own_random_state_is_watched():
    # in a process of its own: checks of types draw from it here
    code = (
        "import random\nfrom sdelens.testing.promises import Untouched\n"
        "with Untouched(dict):\n    random.random()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "a global random state was used" in done.stderr


@pytest.mark.parametrize("kind", WRONG, ids=lambda kind: kind.__name__)
def test_an_analyzer_that_breaks_a_promise_is_told_which(kind):
    try:
        with pytest.raises(AssertionError, match=WRONG[kind]):
            check_analyzer(kind())
    finally:
        restored(kind)


def restored(kind):
    """What a broken plugin changed is thrown away: other tests share it."""
    from sdelens.testing.small_study import small_study

    for handle in EVERYWHERE:
        handle.remove()
    if kind in (Hooking, Training, Moving, Writing, Replacing):
        small_model.cache_clear()
        small_study.cache_clear()
