"""What goodness_of_fit says of laws whose truth is known, and of a real model."""

from dataclasses import dataclass, replace

import pytest
import torch

from sdelens.estimation.additive import (
    AdditiveMean,
)
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Gaussian, Kernel, Law
from sdelens.laws.mixture import Mixture
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer
from sdelens.seeds import generator
from sdelens_plugins.analyzers.goodness_of_fit.analyzer import GoodnessOfFitAnalyzer
from tests.asked import value
from tests.plugins.analyzers.goodness_of_fit.known import (
    DECAY,
    DIM,
    QUICK,
    STEPS,
    around,
    autoregression,
    kernel,
)
from tests.plugins.analyzers.studied import numbers_in


def close(estimate, expected, slack=0.0):
    """Within four standard errors."""
    return abs(estimate.value - expected) < 4 * estimate.stderr + slack


COVERED = {"each coordinate's interval": "marginal", "the ellipsoid of all": "joint"}


def test_it_fulfils_the_analyzer_protocol():
    assert isinstance(GoodnessOfFitAnalyzer(), Analyzer)
    assert GoodnessOfFitAnalyzer.scope == "view"
    assert not GoodnessOfFitAnalyzer.needs


@pytest.mark.parametrize("form", COVERED)
@pytest.mark.parametrize("level", [50, 90])
def test_regions_of_the_true_law_hold_what_they_should(true, form, level):
    assert close(value(true, f"inside {form}, {level}%"), level / 100)


def test_residuals_of_the_true_law_are_standard_normal(true):
    steps = 80 * (STEPS - 1)
    # Kolmogorov's distance exceeds 1.95/sqrt(n) in one of a thousand samples of the true law
    far = 1.95 / steps**0.5
    assert value(true, "PIT's distance from uniform, median coordinate").value < far
    assert value(true, "distance of |r|² from chi-square").value < far
    assert value(true, "PIT's distance from uniform, worst projection").value < 1.2 * far
    assert close(value(true, "mean of |r|² per dimension"), 1)
    error = (24 / steps) ** 0.5
    assert abs(value(true, "excess kurtosis, median coordinate").value) < 4 * error


def _lengths(finding):
    """Expected and observed quantiles of |r|²/d."""
    figure = next(figure for figure in finding.figures if figure.name == "residuals")
    observed = next(layer for layer in figure.panels[-1].layers if layer.label == "observed")
    return observed.values["x"], observed.values["y"]


def test_lengths_of_residuals_are_drawn_without_a_limit(true, sides):
    expected, observed = _lengths(true)
    assert torch.allclose(observed, expected, rtol=0.15)
    # so narrow that a normal score would exceed 8
    expected, observed = _lengths(QUICK.analyze(around(kernel(std=0.1), sides), seed=0))
    assert torch.allclose(observed, 100 * expected, rtol=0.15)
    assert (observed.diff() > 0).all()


def test_scores_of_the_true_law_are_the_known_ones(true):
    # the mean CRPS of N(0, 1) under itself is 1/sqrt(pi)
    assert close(value(true, "CRPS of the fit"), torch.pi**-0.5)
    # E|X - X'| / 2 with X - X' ~ N(0, 2I) in four dimensions: sqrt(2) * 3 sqrt(2 pi) / 8
    assert close(value(true, "energy score of the fit"), 3 * torch.pi**0.5 / 4)


def test_gains_over_the_baselines_are_the_known_ones(true):
    gain = value(true, "gain over i.i.d., constant noise")
    assert close(gain, -0.5 * torch.tensor(1 - DECAY**2).log().item(), slack=0.001)
    # increments have the variance 1 + (1 - decay)^2 / (1 - decay^2)
    walk = 0.5 * torch.tensor(1 + (1 - DECAY) ** 2 / (1 - DECAY**2)).log().item()
    assert close(value(true, "gain over random walk, constant noise"), walk, slack=0.001)
    lower = value(true, "CRPS lower than that of i.i.d. per position")
    assert close(lower, 1 - (1 - DECAY**2) ** 0.5, slack=0.002)
    assert "95% [" in gain.unit


def test_documents_are_counted_as_the_sample_size(true):
    count = value(true, "held-out documents")
    assert count.value == 80
    assert "effective sample size" in count.unit
    assert "80 held-out documents" in true.headline
    assert len(numbers_in(true.headline)) <= 2


def test_a_law_too_wide_or_too_narrow_is_seen(sides):
    for std in (0.8, 1.25):
        finding = QUICK.analyze(around(kernel(std=std), sides), seed=0)
        normal = torch.distributions.Normal(0, 1)
        for level in (50, 90):
            held = 2 * normal.cdf(std * normal.icdf(torch.tensor((1 + level / 100) / 2))) - 1
            assert close(
                value(finding, f"inside each coordinate's interval, {level}%"), float(held)
            )
        assert close(value(finding, "mean of |r|² per dimension"), std**-2)
        assert value(finding, "distance of |r|² from chi-square").value > 0.2
        widest = value(finding, "PIT's distance from uniform, median projection").value
        z = torch.linspace(-4, 4, 8001)
        known = float((normal.cdf(z * std) - normal.cdf(z)).abs().max())
        assert widest == pytest.approx(known, abs=1.95 / (80 * 39) ** 0.5)


def test_correlated_noise_that_is_left_out_shows_in_the_ellipsoids_only(sides):
    """Every coordinate's own interval is right, and the whole is not."""
    train, _, _ = sides
    shared = torch.randn(80, STEPS, 1, generator=generator(5))
    own = torch.randn(80, STEPS, DIM, generator=generator(6))
    noise = 0.8**0.5 * shared + 0.2**0.5 * own
    states = [noise[:, 0] / (1 - DECAY**2) ** 0.5]
    for step in range(1, STEPS):
        states.append(DECAY * states[-1] + noise[:, step])
    test = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
    test = replace(test, document=test.document + 150)
    together = (train, sides[1], test)
    finding = QUICK.analyze(around(kernel(), together), seed=0)
    assert close(value(finding, "inside each coordinate's interval, 90%"), 0.9)
    joint = value(finding, "inside the ellipsoid of all, 90%")
    # |r|^2 is a sum of squares with the eigenvalues of the correlation, 3.4 once and .2 thrice
    squares = torch.randn(10**6, DIM, generator=generator(7)).square()
    squares = squares @ torch.tensor([3.4, 0.2, 0.2, 0.2])
    assert close(joint, float((squares < 7.779).float().mean()))
    assert joint.value < 0.9 - 4 * joint.stderr
    right = ConstantNoise(
        LowRankScale(torch.full((DIM,), 0.2**0.5), torch.full((DIM, 1), 0.8**0.5))
    )
    finding = QUICK.analyze(around(kernel(noise=right), together), seed=0)
    assert close(value(finding, "inside the ellipsoid of all, 90%"), 0.9)
    assert close(value(finding, "inside the ellipsoid of all, 50%"), 0.5)


def test_heavy_tails_show_as_kurtosis(sides):
    def laplace(*shape, generator):
        u = torch.rand(*shape, generator=generator) - 0.5
        return -u.sign() * (1 - 2 * u.abs()).clamp(min=1e-7).log() / 2**0.5

    test = autoregression(80, seed=9, first=150, law=laplace)
    finding = QUICK.analyze(around(kernel(), (*sides[:2], test)), seed=0)
    assert value(finding, "excess kurtosis, median coordinate").value > 2
    assert value(finding, "PIT's distance from uniform, median coordinate").value > 0.05


@pytest.mark.parametrize("steps", [2, 4, 8])
def test_the_true_law_iterated_is_as_good_as_a_direct_fit(true, steps):
    gain = value(true, f"gain of iterated over direct linear, {steps} steps")
    # the direct fit has 120 x 39 h-step transitions for 4 + 39 shrunk numbers a coordinate
    assert close(gain, 0, slack=0.01)
    r2 = value(true, f"increment R², {steps} steps, the fit, iterated")
    decay = DECAY**steps
    known = 1 - (1 - decay**2) / (1 - decay**2 + (1 - decay) ** 2)
    assert close(r2, known)


def test_a_drift_that_is_off_loses_over_the_horizons(sides):
    finding = QUICK.analyze(around(kernel(decay=0.97), sides), seed=0)
    gain = value(finding, "gain of iterated over direct linear, 8 steps")
    assert gain.value < -8 * gain.stderr


def test_states_in_random_order_leave_a_linear_fit_nothing(true):
    here = value(true, "linear over i.i.d. per position, these data")
    null = value(true, "linear over i.i.d. per position, states permuted in time")
    assert close(here, -0.5 * torch.tensor(1 - DECAY**2).log().item(), slack=0.01)
    # what is left tells paths apart: 40 steps of this process leave their mean that far from 0
    paths = (1 + DECAY) / (1 - DECAY) / STEPS
    rest = -0.5 * torch.tensor(1 - ((STEPS * paths - 1) / (STEPS - 1)) ** 2).log().item()
    assert close(null, rest, slack=0.01)
    assert "need the model" in true.reading


def test_position_bins_split_the_steps_evenly(true):
    assert true.arrays["along.count"].tolist() == pytest.approx([80 * 39 / 8] * 8, rel=0.2)
    assert true.arrays["along.position"].diff().min() > 0
    for end in ("first", "last"):
        gain = value(true, f"gain over i.i.d. per position, {end} positions")
        assert close(gain, -0.5 * torch.tensor(1 - DECAY**2).log().item(), slack=0.01)


@dataclass(frozen=True, eq=False)
class Split(Law):
    """Two normal laws to either side of the true mean, of the same first two moments."""

    inner: Law

    def predict(self, past):
        both = self.inner.predict(past)
        parts = tuple(
            Gaussian(both.mean + a, DiagonalScale(torch.full((DIM,), 0.6))) for a in (-0.8, 0.8)
        )
        return Mixture(torch.full((*both.mean.shape[:-1], 2), 0.5).log(), parts)

    def tensors(self):
        return {}


def test_of_a_law_that_is_no_gaussian_residuals_are_left_out_and_scores_are_not(sides, true):
    finding = QUICK.analyze(around(Split(kernel()), sides), seed=0)
    assert "the law is not Gaussian" in finding.reading
    assert not [e for e in finding.estimates if e.name.startswith(("inside", "PIT"))]
    # under constant noise only its mean counts, which is the true one
    gain = "gain over i.i.d., constant noise"
    assert value(finding, gain).value == pytest.approx(value(true, gain).value, abs=1e-5)
    worse, right = (value(f, "CRPS of the fit") for f in (finding, true))
    assert right.value < worse.value < 1.1 * right.value
    assert close(value(finding, "increment R², 2 steps, the fit, iterated"), 0.245, slack=0.01)


def test_a_table_of_tokens_has_no_horizons(sides):
    tokens = torch.randint(5, (len(sides[2].document), STEPS), generator=generator(0))
    test = replace(sides[2], tokens=tokens)
    effects = torch.randn(5, DIM, generator=generator(1))
    mean = AdditiveMean(
        DECAY * torch.eye(DIM), torch.zeros(1), torch.zeros(1, DIM), torch.arange(5), effects
    )
    law = Kernel(mean, ConstantNoise.independent(torch.ones(DIM)))
    finding = QUICK.analyze(around(law, (*sides[:2], test), probe="token"), seed=0)
    assert "Horizons are left out: the law needs tokens" in finding.reading
    assert not [figure for figure in finding.figures if figure.name == "horizons"]


def test_short_paths_have_the_horizons_that_they_are_long_enough_for(sides):
    short = tuple(replace(s, mask=torch.arange(STEPS).expand(len(s.mask), -1) < 6) for s in sides)
    finding = QUICK.analyze(around(kernel(), short), seed=0)
    assert finding.arrays["horizon.steps"].tolist() == [2, 4]


def test_the_column_of_state_dependent_noise_is_shown_where_it_was_scored(sides):
    rows = {
        name: {"gain_of_fit_state_dependent": 0.2, "gain_of_fit_state_dependent_stderr": 0.01}
        for name in ("random_walk", "constant", "iid", "iid_position", "linear")
    }
    study = around(kernel(), sides, {"baselines": rows, "held_out_documents": 80})
    finding = replace(QUICK, nulls=0).analyze(study, seed=0)
    gain = value(finding, "gain over linear, state-dependent noise")
    assert (gain.value, gain.stderr) == (pytest.approx(0.2), pytest.approx(0.01))
    assert [panel.title for panel in finding.figures[0].panels][1] == "State-dependent noise"
    assert "null" not in "".join(finding.arrays)
