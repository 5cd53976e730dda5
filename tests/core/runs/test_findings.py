import math

import pytest
import torch
from torch.testing import assert_close

from sdelens.errors import UsageError
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, Strip
from sdelens.runs.findings import load_finding, save_finding


def finding():
    shared = torch.arange(6.0)
    layer = Layer("line", {"x": shared, "y": shared[:]}, label="a", words=("one", "two"))
    return Finding(
        analyzer="test",
        view="L00",
        headline="A headline: 3 > 2",
        reading="Read it.",
        estimates=(Estimate("gain", 0.5, 0.1, "nats"), Estimate("none", math.nan, math.inf)),
        # names that the file format might take for its own
        arrays={"type": torch.ones(2, 3).mT, "tensor": torch.zeros(()), "a.b": torch.arange(3)},
        figures=(Figure("f", (Panel("x", "y", (layer,), share="s"),), "caption"),),
        strips=(Strip("s", ("a", "b"), (1.0, math.nan), scale=(0.0, 2.0)),),
        prompt="a prompt",
        settings={"number": 3, "share": 0.5, "cached": True, "name": "x", "none": None},
    )


def test_a_finding_comes_back_as_it_was_saved(tmp_path):
    saved = finding()
    save_finding(saved, tmp_path)
    found = load_finding(tmp_path)
    assert (found.headline, found.prompt, found.view) == (saved.headline, saved.prompt, "L00")
    assert found.settings == saved.settings
    assert found.estimates[0] == saved.estimates[0]
    assert math.isnan(found.estimates[1].value)
    assert found.estimates[1].stderr == math.inf
    assert set(found.arrays) == set(saved.arrays)
    for name, array in saved.arrays.items():
        assert_close(found.arrays[name], array)
    before, after = saved.figures[0].panels[0], found.figures[0].panels[0]
    assert after.layers[0].words == before.layers[0].words
    assert_close(after.layers[0].values["y"], before.layers[0].values["y"])
    assert found.strips[0].tokens == ("a", "b")
    assert math.isnan(found.strips[0].values[1])


def test_the_same_finding_is_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        save_finding(finding(), tmp_path / name)
    for file in ("finding.json", "arrays.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_a_file_can_name_no_other_class(tmp_path):
    save_finding(finding(), tmp_path)
    file = tmp_path / "finding.json"
    file.write_text(file.read_text().replace('"Estimate"', '"Popen"'))
    with pytest.raises((UsageError, KeyError)):
        load_finding(tmp_path)
