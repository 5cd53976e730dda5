"""Steered text on the command line."""

import json

import pytest

import sdelens
from sdelens import load
from sdelens.errors import UsageError
from sdelens_cli.generate import as_values


def test_both_texts_stand_side_by_side_with_their_numbers(sdelens, finished):
    options = ("--prompt", "the cat sat", "--steer", "drift=0.5,diffusion=0.8")
    options += ("--tokens", 5, "--layer", 2)
    done = sdelens("generate", finished, *options)
    assert done.returncode == 0, done.stderr
    for said in ("unsteered", "drift +0.5, diffusion 0.8", "perplexity", "distinct-2", "entropy"):
        assert said in done.stdout
    found = json.loads(sdelens("generate", finished, *options, "--json").stdout)
    assert found["steering"] == {"drift": 0.5, "diffusion": 0.8}
    assert found["prompt"] == "the cat sat"
    asked = {"layer": "2", "tokens": 5, "temperature": 1.0, "seed": 0}
    assert asked.items() <= found.items()
    assert found["unsteered"]["kl"] == 0 < found["steered"]["kl"]


def test_what_cannot_be_steered_is_one_sentence(sdelens, finished):
    wrong = {
        ("--steer", "drift=much"): "--steer expects drift=0.5,diffusion=0.8",
        ("--steer", "drift=1"): "several layers: give --layer 0 or --layer 2",
        ("--steer", "drift=1", "--layer", "1"): "no fit of layer 1: give --layer 0 or --layer 2",
        ("--steer", "drift=1", "--layer", "0,2"): "--layer must be a single layer, got 0,2",
        ("--steer", "drift=1", "--layer", "2", "--prompt", " "): "--prompt is empty",
    }
    for options, said in wrong.items():
        done = sdelens("generate", finished, *options)
        assert done.returncode == 2, options
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_a_study_steers_its_own_model(finished):
    study = load(finished)
    found = study.steer("the cat sat", layer=2, drift=0.5, tokens=5)
    fitted = next(viewed.fitted for view, viewed in study.views.items() if view.label == "2")
    model = study.run.model
    assert " " in fitted.origin.hook, "several layers were recorded, and the fit knows its own"
    assert found == sdelens.steer(fitted, model, "the cat sat", drift=0.5, tokens=5)
    with pytest.raises(UsageError, match="layer must be one of 0, 2"):
        study.steer("the cat sat", drift=0.5)
    one = study.steer("the cat sat", layer=0, drift="remove", tokens=1)
    assert as_values(one)["steered"]["distinct2"] is None, "one word has no pair; JSON has no NaN"
