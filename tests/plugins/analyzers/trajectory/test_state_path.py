"""The states of a text, and the laws of the states after them, in the plane."""

from dataclasses import replace

import pytest
import torch

from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens_plugins.analyzers.common.observed_path import observed_path
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.trajectory import state_path as module
from sdelens_plugins.analyzers.trajectory.analyzer import TrajectoryAnalyzer
from sdelens_plugins.analyzers.trajectory.state_path import state_path
from tests.plugins.analyzers.studied import around, autoregression, kernel
from tests.spoken import Loud, spoken_study


@pytest.fixture(scope="module")
def study(model):
    """Noise that depends on the state, in a basis that leaves directions out."""
    return spoken_study(model, Site("block", 1), basis="pca:6", noise=Loud())


def drawn(study):
    _, viewed = study.single
    path, plane = observed_path(study, tokens=9), PrincipalComponents.of(viewed.train, 2)
    words = tuple("abcdefghi")
    return viewed.fitted, plane, path, state_path(viewed.fitted, plane, path, words)


def test_means_and_covariances_are_those_of_the_next_states(study):
    fitted, plane, path, found = drawn(study)
    step = fitted.transition(path.times, path.states)
    root = torch.linalg.eigh(step.covariance.double())
    factor = root.eigenvectors * root.eigenvalues.clamp(min=0).sqrt()[:, None]
    draws = torch.randn(20_000, 9, 16, generator=generator(3), dtype=torch.float64)
    following = step.mean + torch.einsum("tij,ntj->nti", factor, draws)
    points = plane.project(following.float()).double()
    centred = points - points.mean(0)
    torch.testing.assert_close(found.mean.double(), points.mean(0), rtol=0.05, atol=0.05)
    covariance = torch.einsum("nti,ntj->tij", centred, centred) / len(points)
    scale = found.covariance.diagonal(dim1=1, dim2=2).max()
    assert (found.covariance - covariance).abs().max() < 0.05 * scale
    torch.testing.assert_close(found.states, plane.project(path.states))


def test_a_long_text_in_parts_is_the_same(study, monkeypatch):
    *_, whole = drawn(study)
    monkeypatch.setattr(module, "ENTRIES", 6 * 6 * 2)  # two states at a time
    *_, parts = drawn(study)
    torch.testing.assert_close(parts.mean, whole.mean)
    torch.testing.assert_close(parts.covariance, whole.covariance)


def test_the_text_is_longer_than_the_figures(study):
    (path,) = TrajectoryAnalyzer(tokens=4, text=20).analyze(study, seed=0).paths
    assert len(path.tokens) == 20
    assert len(TrajectoryAnalyzer(tokens=4).analyze(study, seed=0).arrays["positions"]) == 4


def test_states_that_vary_in_one_direction_are_drawn_against_time(study):
    _, plane, path, whole = drawn(study)
    _, viewed = study.single
    one = replace(plane, components=(0,))
    found = state_path(viewed.fitted, one, path, whole.tokens)
    assert found.axes[0] == "token position"
    assert found.states[:, 0].tolist() == path.times.tolist()
    assert found.mean[:, 0].tolist() == (path.times + 1).tolist()
    assert found.covariance[:, 0].abs().max() == 0
    torch.testing.assert_close(found.covariance[:, 1, 1], whole.covariance[:, 0, 0])


def test_states_that_are_no_text_have_no_path():
    known = tuple(autoregression(n, 30, seed=n) for n in (40, 10, 20))
    study = around(kernel(0.9 * torch.eye(4), 1.0), *known)
    assert TrajectoryAnalyzer().analyze(study, seed=0).paths == ()
