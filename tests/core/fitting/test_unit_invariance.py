"""A fit in other units, or far from zero, is the same fit."""

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.testing import ornstein_uhlenbeck

SYSTEM = ornstein_uhlenbeck(3)
STATES = SYSTEM.simulate(60, 21, seed=0).double()
AT = STATES[:20, 5]
CASES = (
    pytest.param("linear", {"noise": "full"}, id="linear"),
    pytest.param("linear", {"dt": SYSTEM.dt}, id="exact"),
    pytest.param("linear", {"noise": "full@time"}, id="by-time"),
    pytest.param("linear", {"ridge": 1.0}, id="heavy-ridge"),
    pytest.param("diagonal", {"ridge": 0.1}, id="diagonal"),
    pytest.param("low-rank-linear", {"ridge": 1.0, "rank": 1}, id="low-rank"),
    pytest.param("heteroscedastic-linear", {}, id="heteroscedastic"),
    pytest.param("constant", {}, id="constant"),
)


def coefficients(fitted, unit, offset=0.0):
    """Drift and covariance at the same states, in the units of the plain data."""
    x = AT * unit + offset
    drift, noise = fitted.drift(0.0, x), fitted.covariance(0.0, x)
    return drift / unit, noise / unit / unit[:, None]


@pytest.mark.parametrize(("probe", "how"), CASES)
@pytest.mark.parametrize("basis", ["raw", "standard"])
def test_a_fit_does_not_depend_on_the_units(probe, how, basis):
    unit = torch.tensor([1.0, 2000.0, 1e-7]).double()
    plain = sdelens.fit(STATES, probe=probe, basis="standard", **how)
    scaled = sdelens.fit(STATES * unit, probe=probe, basis=basis, **how)
    for one, other in zip(
        coefficients(plain, torch.ones(3)), coefficients(scaled, unit), strict=True
    ):
        assert_close(one, other, rtol=1e-4, atol=1e-4 * float(one.abs().max()))
    before, after = plain.record.scores, scaled.record.scores
    assert after["notes"] == before["notes"]
    for key in ("gain_over_iid_position", "held_out_nll_per_dim"):
        assert after[key] == pytest.approx(before[key], abs=1e-4)


@pytest.mark.parametrize("basis", ["raw", "standard", "whiten:3", "pca:2"])
def test_a_coordinate_far_from_zero_is_fitted_to_its_own_digits(basis):
    offset = torch.tensor([0.0, 1e8, -1e6]).double()
    one = torch.ones(3).double()
    plain, moved = (sdelens.fit(x, probe="linear", basis=basis) for x in (STATES, STATES + offset))
    for before, after in zip(
        coefficients(plain, one), coefficients(moved, one, offset), strict=True
    ):
        assert_close(before, after, rtol=1e-4, atol=1e-4)
    step = moved.transition(0.0, AT + offset)
    assert_close(step.mean - offset, plain.transition(0.0, AT).mean, rtol=1e-4, atol=1e-4)
    run = sdelens.simulate(moved, AT + offset, steps=5, seed=0) - offset
    assert_close(run, sdelens.simulate(plain, AT, steps=5, seed=0), rtol=1e-3, atol=1e-3)
    assert_close(moved.log_prob(STATES + offset), plain.log_prob(STATES), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e12, 1e30])
def test_states_of_any_size_have_a_fit_with_finite_scores(size):
    unit = torch.full((3,), size).double()
    plain, scaled = (sdelens.fit(x, probe="linear") for x in (STATES, STATES * unit))
    for one, other in zip(
        coefficients(plain, torch.ones(3)), coefficients(scaled, unit), strict=True
    ):
        assert_close(one, other, rtol=1e-4, atol=1e-4)
    before, after = plain.record.scores, scaled.record.scores
    assert after["transitions_with_sinks"] == before["transitions_with_sinks"]
    for key in ("held_out_nll_per_dim", "held_out_nll_per_dim_without_sinks"):
        assert after[key] == pytest.approx(before[key], abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_constant_coordinates_have_no_dynamics_and_do_not_change_the_others(dtype):
    constant = torch.full((60, 21, 1), 1 / 3).double()
    states = torch.cat([constant, STATES[..., :2], 1e6 * constant, STATES[..., 2:]], -1)
    plain = sdelens.fit(STATES.to(dtype), probe="linear")
    with_constants = sdelens.fit(states.to(dtype), probe="linear")
    kept = [1, 2, 4]
    x = torch.zeros(20, 5, dtype=dtype)
    x[:, kept] = AT.to(dtype)
    drift, noise = with_constants.drift(0.0, x), with_constants.covariance(0.0, x)
    assert_close(drift[:, kept], plain.drift(0.0, AT.to(dtype)))
    assert (drift[:, [0, 3]] == 0).all()
    assert (noise[:, [0, 3]] == 0).all()
    scores = with_constants.record.scores
    assert scores["dropped_coordinates"] == [0, 3]
    assert any("2 coordinates (of 5, from 0: 0, 3)" in note for note in scores["notes"])
    assert plain.record.scores["dropped_coordinates"] == []
    assert plain.record.scores["notes"] == []


def test_evidence_does_not_depend_on_the_basis_or_the_units():
    found = []
    for unit, basis in ((1.0, "standard"), (2000.0, "raw"), (1.0, "whiten:3")):
        states = STATES * torch.tensor([1.0, unit, 1.0])
        fitted = sdelens.fit(states, probe="linear", noise="full", basis=basis)
        found.append(fitted.verdict(states).evidence)
    one, *others = found
    for other in others:
        for before, after in zip(
            (one.gain, *one.memory, one.lagged[0]),
            (other.gain, *other.memory, other.lagged[0]),
            strict=True,
        ):
            assert after.value == pytest.approx(before.value, abs=0.5 * before.stderr + 1e-4)
        assert other.embeddable == pytest.approx(one.embeddable, abs=0.05)


def test_gains_are_invariant_under_units_and_shifts_but_not_under_rotations():
    random = torch.Generator().manual_seed(1)
    mixing = torch.randn(3, 3, generator=random, dtype=torch.float64)

    def gains(states):
        scores = sdelens.fit(states, probe="linear").record.scores
        return torch.tensor([row["gain_of_fit"] for row in scores["baselines"].values()])

    units = torch.tensor([1.0, -20.0, 1e-3]).double()
    assert_close(gains(STATES * units + 5), gains(STATES), atol=1e-4, rtol=0)
    assert (gains(STATES @ mixing) - gains(STATES)).abs().max() > 0.02
