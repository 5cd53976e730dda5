"""Every analyzer of a single fit runs on tensors of one and two dimensions, and draws."""

import pytest
import torch

from sdelens.registry import plugins
from sdelens.seeds import generator
from sdelens.testing import ornstein_uhlenbeck
from sdelens_plugins.reporters.figures.drawing import drawing_of
from tests.plugins.analyzers.dimensions import study_of
from tests.plugins.reporters.figures.legibility import faults

SETTINGS = {
    "drift_share": {},
    "goodness_of_fit": {"draws": 4, "starts": 32, "projections": 8, "nulls": 24},
    "losses": {},
    "moments": {"replicates": 20, "steps": 10},
    "stability": {"states": 64, "paths": 4, "steps": 30, "long_run": 200},
    "trajectory": {"paths": 16, "documents": 4},
    "uncertainty": {},
    "vector_field": {"cells": 8},
    "verdict": {},
    "well_posedness": {},
}
GAPS = torch.rand(30, 21, generator=torch.Generator().manual_seed(0)) < 0.05


@pytest.fixture(scope="module", params=["1", "1, far, with gaps", "2, far, with gaps"])
def study(request):
    states = ornstein_uhlenbeck(int(request.param[0])).simulate(30, 21, seed=0)
    if "far" in request.param:
        states = (states.double() + 1e8).masked_fill(GAPS[..., None], torch.nan)
    return study_of(states, probe="linear")


@pytest.mark.parametrize("name", SETTINGS)
def test_an_analyzer_of_one_fit_runs_and_draws(study, name):
    finding = plugins("analyzer")[name].load()(**SETTINGS[name]).analyze(study, seed=0)
    assert finding.headline.endswith(".")
    for estimate in finding.estimates:
        assert estimate.value == estimate.value, estimate.name
    for figure in finding.figures:
        assert drawing_of(figure).svg.startswith("<?xml")
        assert faults(figure) == []


def test_every_analyzer_that_needs_no_model_is_tried():
    """`layers` compares the fits of several layers."""
    found = {
        name
        for name, plugin in plugins("analyzer").items()
        if plugin.distribution == "sdelens" and "model" not in plugin.load().needs
    }
    assert found - {"layers"} == set(SETTINGS)


def test_moments_of_a_fit_to_fewer_directions_are_those_of_its_directions():
    noise = torch.randn(150, 30, 3, generator=generator(5))
    states = [noise[:, 0]]
    for kick in noise[:, 1:].unbind(1):
        states.append(0.5 * states[-1] + torch.tensor([1.0, 0.8, 0.6]) * kick)
    study = study_of(torch.stack(states, dim=1), probe="linear", basis="pca:2")
    finding = plugins("analyzer")["moments"].load()(**SETTINGS["moments"]).analyze(study, seed=0)
    assert finding.headline.startswith("The fit reproduces the moments of the first 2 components")
