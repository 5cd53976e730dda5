"""The drift of states that vary in one direction: a curve with its zeros."""

import pytest
import torch

from sdelens.fitting.fitted import Fitted
from sdelens.testing import double_well, ornstein_uhlenbeck
from sdelens_plugins.analyzers.vector_field.analyzer import VectorFieldAnalyzer
from tests.asked import value
from tests.plugins.analyzers.dimensions import study_of
from tests.plugins.analyzers.studied import autoregression, numbers_in

SYSTEM = double_well()  # dX = (X - X^3) dt + 0.7 dW


@pytest.fixture(scope="module")
def wells():
    return study_of(SYSTEM.simulate(150, 101, seed=0), probe="kernel")


@pytest.mark.parametrize("field", ["slice", "expectation"])
def test_a_double_well_has_three_zeros_of_which_the_outer_two_attract(wells, field):
    finding = VectorFieldAnalyzer(field=field).analyze(wells, seed=0)
    assert value(finding, "fixed points inside").value == 3
    places = finding.arrays["fixed.line"]
    order = places.argsort()
    # the zero at 0 is where states are few: its error is about 0.1
    assert places[order].tolist() == pytest.approx([-1, 0, 1], abs=0.25)
    moduli = finding.arrays["fixed.eigenvalues"].norm(dim=-1)[:, 0][order]
    assert (moduli < 1).tolist() == [True, False, True]
    assert "several fixed points, some of which attract" in finding.headline
    assert len(numbers_in(finding.headline)) <= 2


def test_the_curve_is_the_drift_of_the_fit_in_the_units_of_the_data(wells):
    finding = VectorFieldAnalyzer().analyze(wells, seed=0)
    _, viewed = wells.single
    nodes, drift = finding.arrays["nodes"], finding.arrays["field.value"]
    fitted: Fitted = viewed.fitted
    assert value(finding, "slope of the drift").value < 0
    middle = 49.0  # the median start of a transition
    torch.testing.assert_close(
        drift, fitted.drift(middle, nodes[:, None])[:, 0], rtol=1e-4, atol=1e-6
    )
    crossings = (drift[:-1] * drift[1:] < 0).sum()
    assert int(crossings) == 3
    [figure] = finding.figures
    assert figure.panels[0].x == "state"
    labels = {layer.label for layer in figure.panels[0].layers}
    assert {"fixed point, attracts", "fixed point, does not attract"} <= labels


def test_the_fit_and_the_data_differ_by_no_more_than_chance_unless_the_fit_is_wrong(wells):
    wrong = study_of(SYSTEM.simulate(150, 101, seed=0), probe="constant")
    ratios = []
    for study in (wells, wrong):
        gap = value(VectorFieldAnalyzer().analyze(study, seed=0), "fitted less observed")
        ratios.append(gap.value / float(gap.unit.partition("(")[2].partition(" ")[0]))
    assert ratios[0] < 1.6
    assert ratios[1] > ratios[0]


def test_a_linear_drift_has_one_zero_and_a_slope_without_error():
    states = autoregression(100, 30, seed=0, dim=1).states
    finding = VectorFieldAnalyzer().analyze(study_of(states, probe="linear"), seed=0)
    slope = value(finding, "slope of the drift")
    # the slope of an autoregression at 0.9 has the error sqrt((1 - 0.81) / 2400) = 0.009
    assert slope.value == pytest.approx(-0.1, abs=0.04)
    assert slope.stderr is None
    assert "one fixed point, which attracts" in finding.headline


def test_a_random_walk_with_drift_has_no_zero():
    random = torch.Generator().manual_seed(0)
    states = (torch.randn(60, 30, 1, generator=random) + 1).cumsum(1)
    finding = VectorFieldAnalyzer().analyze(study_of(states, probe="constant"), seed=0)
    assert value(finding, "fixed points inside").value == 0
    assert "no fixed point was found" in finding.headline
    assert not any("fixed point" in layer.label for layer in finding.figures[0].panels[0].layers)


def test_copies_of_one_coordinate_have_a_curve_along_their_component():
    states = autoregression(100, 30, seed=0, dim=1).states
    study = study_of(torch.cat([states, 3 * states + 1], -1), probe="linear", basis="whiten:2")
    finding = VectorFieldAnalyzer().analyze(study, seed=0)
    assert finding.figures[0].panels[0].x == "PC 1 (100% of variance)"
    assert value(finding, "slope of the drift").value == pytest.approx(-0.1, abs=0.04)


def test_one_held_out_path_has_a_curve_without_errors():
    states = autoregression(12, 30, seed=0, dim=1).states
    study = study_of(states, probe="linear")
    finding = VectorFieldAnalyzer().analyze(study, seed=0)
    assert value(finding, "slope of the drift").stderr is None
    assert "observed.value_stderr" not in finding.arrays


def test_the_curve_has_the_digits_of_states_far_from_zero():
    states = autoregression(100, 30, seed=0, dim=1).states.double() + 1e8
    study = study_of(states, probe="linear")
    finding = VectorFieldAnalyzer().analyze(study, seed=0)
    assert finding.arrays["nodes"].std() > 1
    zero = finding.arrays["fixed.line"]
    _, viewed = study.single
    middle = 14.0  # the median start of a transition
    assert abs(float(viewed.fitted.drift(middle, zero[:, None]))) < 1e-3


@pytest.mark.parametrize(("paths", "banded"), [(60, False), (150, True)])
def test_a_band_needs_ten_held_out_documents(paths, banded):
    study = study_of(ornstein_uhlenbeck(1).simulate(paths, 21, seed=0), probe="linear")
    finding = VectorFieldAnalyzer(cells=8).analyze(study, seed=0)
    marks = [layer.mark for panel in finding.figures[0].panels for layer in panel.layers]
    assert ("band" in marks) == banded
    assert ("95% interval" in finding.figures[0].caption) == banded


def test_a_fit_in_one_direction_of_several_has_a_curve_along_it():
    states = ornstein_uhlenbeck(3).simulate(100, 40, seed=1)
    finding = VectorFieldAnalyzer().analyze(
        study_of(states, probe="linear", basis="pca:1"), seed=0
    )
    [figure] = finding.figures
    assert figure.panels[0].x != "component 2"
    assert finding.arrays["nodes"].ndim == 1
    assert value(finding, "slope of the drift").value < 0
