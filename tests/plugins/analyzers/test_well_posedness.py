"""Lipschitz constants of laws with and without known bounds."""

from dataclasses import replace

import pytest
import torch

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.law import Mean
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens_plugins.analyzers.well_posedness import WellPosednessAnalyzer
from tests.asked import value


class Cubic(Mean):
    """x - x^3 / 100."""

    def __call__(self, t, x, token):
        return x - 0.01 * x**3

    def tensors(self):
        return {}


def kernel(decay):
    """X' = decay x + N(0, 1)."""
    blank = torch.empty(0, dtype=torch.long)
    matrix, zero = decay * torch.eye(2), torch.zeros(1, 2)
    mean = AdditiveMean(matrix, torch.zeros(1), zero, blank, torch.zeros(0, 2))
    return KernelSDE(mean, ConstantNoise.independent(torch.ones(2)))


def studied(law, members=(), documents=30, steps=10):
    sides = [
        Trajectories.from_states(torch.randn(n, steps, 2, generator=generator(n)), 1.0)
        for n in (50, documents, documents)
    ]
    basis = fit_basis(BasisSpec("raw"), sides[0])
    basis = replace(basis, means=torch.zeros_like(basis.means))
    fitted = Fitted(law, basis, Record("linear", {}, law.density, 1.0, 0), members=members)
    view, nothing = View(Site("block", 0)), Documents.of([Document((0, 1))])
    return Study("s", {view: Viewed(fitted, *sides)}, nothing)


def test_it_fulfils_the_analyzer_protocol():
    assert isinstance(WellPosednessAnalyzer(), Analyzer)


def test_a_linear_kernel_has_its_exact_constant_and_needs_no_theorem():
    finding = WellPosednessAnalyzer().analyze(studied(kernel(0.3)), seed=0)
    assert value(finding, "slope of the drift, bound").value == pytest.approx(0.7, rel=1e-5)
    assert value(finding, "slope of the drift, largest").value == pytest.approx(0.7, rel=1e-4)
    assert value(finding, "slope of sigma, bound").value == 0
    assert "exactly 0.7" in finding.headline
    assert "does not need one" in finding.headline
    assert "exp(1.4)" in finding.reading


def test_an_exact_law_is_an_sde_to_which_the_theorem_applies():
    law = LinearSDE.from_step(0.5 * torch.eye(2), torch.zeros(2), torch.eye(2), 1.0)
    finding = WellPosednessAnalyzer().analyze(studied(law), seed=0)
    assert "does not need one" not in finding.headline
    assert "has a unique strong solution" in finding.headline


def test_a_law_without_a_bound_has_no_guarantee_and_its_slope_grows_outwards():
    finding = WellPosednessAnalyzer().analyze(
        studied(KernelSDE(Cubic(), ConstantNoise.independent(torch.ones(2)))), seed=0
    )
    assert "no known bound" in finding.headline
    assert "not known whether" in finding.headline
    slopes = finding.arrays["drift"].amax(1)
    assert finding.arrays["radii"].tolist() == [1.0, 1.5, 2.0, 3.0]
    # 3 x^2 / 100 in one coordinate: with the square of the distance
    assert float(slopes[3] / slopes[1]) == pytest.approx(4, rel=0.02)


def test_an_ensemble_gives_the_largest_slope_an_error():
    study = studied(kernel(0.3), members=(kernel(0.2), kernel(0.4)))
    found = value(WellPosednessAnalyzer().analyze(study, seed=0), "slope of the drift, largest")
    assert found.stderr == pytest.approx(0.2 / 2**0.5, rel=1e-3)


def test_one_short_document_is_enough_and_the_finding_is_saved_whole(tmp_path):
    finding = WellPosednessAnalyzer().analyze(studied(kernel(0.3), documents=1, steps=3), seed=0)
    assert value(finding, "slope of the drift, mean").stderr is None
    save_finding(finding, tmp_path / "finding")
    assert load_finding(tmp_path / "finding").estimates == finding.estimates
