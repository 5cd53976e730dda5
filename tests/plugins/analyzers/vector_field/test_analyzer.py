"""The drift field of a known law, and planes that do not exist."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens_plugins.analyzers.vector_field.analyzer import VectorFieldAnalyzer
from tests.asked import value
from tests.plugins.analyzers.studied import numbers_in

TURN = 0.9 * torch.tensor([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.5]])
SMALL = {"cells": 10, "starts": 8}


def kernel(matrix):
    """X' = A x + N(0, 1)."""
    dim, blank = len(matrix), torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(matrix, torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim))
    return KernelSDE(mean, ConstantNoise.independent(torch.ones(dim)))


def turning(paths, *, seed, matrix=TURN, steps=30):
    """Paths of that law."""
    noise = torch.randn(steps, paths, len(matrix), generator=generator(seed))
    states = [2 * noise[0]]
    for step in noise[1:]:
        states.append(states[-1] @ matrix.mT + step)
    return Trajectories.from_states(torch.stack(states, dim=1), 1.0)


def study_of(law, train, test, basis="raw"):
    fitted = Fitted(
        law, fit_basis(BasisSpec(basis), train), Record("linear", {}, "discrete", 1.0, 0)
    )
    if basis == "raw":  # the law is of the states themselves
        own = fitted.basis
        fitted = replace(fitted, basis=replace(own, means=torch.zeros_like(own.means)))
    view = View(Site("block", 0))
    nothing = Documents.of([Document((0, 1))])
    return Study("s", {view: Viewed(fitted, train, test, test)}, nothing)


@pytest.fixture(scope="module")
def study():
    return study_of(kernel(TURN), turning(60, seed=1), turning(30, seed=2))


def test_it_fulfils_the_analyzer_protocol():
    assert isinstance(VectorFieldAnalyzer(), Analyzer)


def in_plane(study):
    """The drift's matrix in the plane of the first two components, in their own coordinates."""
    _, viewed = study.single
    basis = fit_basis(BasisSpec("pca:2"), viewed.train)
    return basis.encoder.mT @ (TURN - torch.eye(3)) @ basis.decoder.mT


def test_a_slice_has_the_divergence_and_curl_of_the_known_drift(study):
    finding = VectorFieldAnalyzer(**SMALL).analyze(study, seed=0)
    matrix = in_plane(study)
    turns = float(matrix[1, 0] - matrix[0, 1])
    assert value(finding, "divergence").value == pytest.approx(float(matrix.trace()), rel=1e-4)
    assert value(finding, "curl").value == pytest.approx(turns, rel=1e-4)
    assert abs(turns) > 0.5


def test_an_expectation_is_the_regression_on_the_plane_with_errors(study):
    finding = VectorFieldAnalyzer(field="expectation", **SMALL).analyze(study, seed=0)
    found, matrix = value(finding, "curl"), in_plane(study)
    # components are uncorrelated in training, so that the regression on two has the same slope;
    # the 5% allow for held-out states, in which they nearly are
    assert abs(found.value - float(matrix[1, 0] - matrix[0, 1])) < 4 * found.stderr + 0.05
    assert {"field.value_stderr", "field.curl_stderr"} <= finding.arrays.keys()
    assert [figure.name for figure in finding.figures] == [
        "field",
        "derivatives",
        "errors",
        "planes",
    ]


def test_the_true_law_misses_no_more_of_the_data_than_chance_does(study):
    wrong = study_of(kernel(0.2 * TURN), turning(60, seed=1), turning(30, seed=2))
    shares = []
    for each in (study, wrong):
        found = value(VectorFieldAnalyzer(**SMALL).analyze(each, seed=0), "fitted less observed")
        chance = float(found.unit.partition("(")[2].partition(" ")[0])
        shares.append(found.value / chance)
    assert shares[0] < 1.6
    assert shares[1] > 3


def test_the_one_fixed_point_of_a_linear_law_is_found_and_attracts(study):
    finding = VectorFieldAnalyzer(**SMALL).analyze(study, seed=0)
    assert value(finding, "fixed points inside").value == 1
    assert value(finding, "largest |eigenvalue|").value == pytest.approx(0.9, rel=1e-4)
    assert torch.allclose(finding.arrays["fixed.states"], torch.zeros(1, 3), atol=1e-3)
    assert "one fixed point, which attracts" in finding.headline
    assert len(numbers_in(finding.headline)) <= 2


def test_any_plane_of_components_can_be_drawn(study):
    finding = VectorFieldAnalyzer(components="3,1", **SMALL).analyze(study, seed=0)
    panel = finding.figures[0].panels[0]
    assert panel.x.startswith("PC 3 (")
    assert panel.y.startswith("PC 1 (")
    assert len(finding.figures[-1].panels) == 3


@pytest.mark.parametrize("components", ["1", "1,1", "0,1", "1,9", "a,b"])
def test_an_invalid_plane_is_refused(study, components):
    with pytest.raises(UsageError, match="components"):
        VectorFieldAnalyzer(components=components, **SMALL).analyze(study, seed=0)


def test_a_fit_in_fewer_coordinates_and_one_short_document_are_enough():
    law = kernel(TURN[:2, :2])
    study = study_of(law, turning(20, seed=1), turning(1, seed=2, steps=5), basis="pca:2")
    finding = VectorFieldAnalyzer(**SMALL).analyze(study, seed=0)
    assert value(finding, "curl").stderr is None
    assert finding.arrays["path"].shape == (5, 2)


def test_a_finding_depends_on_its_seed_alone_and_is_saved_whole(study, tmp_path):
    analyzer = VectorFieldAnalyzer(field="expectation", **SMALL)
    first, again = (analyzer.analyze(study, seed=3) for _ in range(2))
    assert all(torch.equal(first.arrays[name], again.arrays[name]) for name in first.arrays)
    save_finding(first, tmp_path / "finding")
    assert load_finding(tmp_path / "finding").estimates == first.estimates
