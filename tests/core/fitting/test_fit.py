import math
import re

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import BadNumbers, UnknownName, UsageError
from sdelens.fitting.comparison import FitProgress, comparisons
from sdelens.fitting.fit import fit, fit_view
from sdelens.fitting.options import FitOptions
from sdelens.interfaces import load
from sdelens.paths.split import split
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import FitTask
from sdelens.testing import double_well, ornstein_uhlenbeck


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def ornstein(paths=120, length=40, dt=0.05):
    """dX = -X dt + dW in two independent coordinates, exactly, stationary, around (3, -1)."""
    keep, std = math.exp(-dt), math.sqrt((1 - math.exp(-2 * dt)) / 2)
    x = randn(paths, 2) / math.sqrt(2)
    states = [x]
    for step in range(length - 1):
        x = keep * x + std * randn(paths, 2, seed=step + 1)
        states.append(x)
    return torch.stack(states, 1) + torch.tensor([3.0, -1.0])


@pytest.fixture(scope="module")
def states():
    return ornstein()


@pytest.fixture(scope="module", params=["raw", "standard", "whiten:2"])
def fitted(request, states):
    return sdelens.fit(states, dt=0.05, probe="linear", basis=request.param, seed=0)


@pytest.mark.parametrize("batch", [(), (3, 4)])
def test_a_transition_has_a_mean_and_a_covariance_for_each_state(fitted, batch):
    x = randn(*batch, 2)
    step = fitted.transition(0.0, x)
    assert step.mean.shape == (*batch, 2)
    assert step.covariance.shape == (*batch, 2, 2)
    assert fitted.drift(0.0, x).shape == (*batch, 2)
    assert fitted.covariance(0.0, x).shape == (*batch, 2, 2)
    assert (torch.linalg.eigvalsh(step.covariance) > 0).all()


def test_coefficients_are_in_the_units_of_the_data(fitted, states):
    # the rate's efficient error is sqrt(2 / (paths length dt)) = .10 from 96 paths of 2 time units
    error = math.sqrt(2 / (96 * 39 * 0.05))
    drift = fitted.drift(0.0, torch.tensor([[4.0, -1.0], [3.0, 0.0]]))
    expected = torch.tensor([[-1.0, 0.0], [0.0, -1.0]])
    assert ((drift - expected).abs() < 4 * 1.5 * error).all()
    found = fitted.covariance(0.0, torch.tensor([3.0, -1.0])).diagonal()
    assert_close(found, torch.ones(2), rtol=4 * math.sqrt(2 / (96 * 39)) * 1.1, atol=0)


def test_log_prob_is_the_density_of_the_transition_jacobian_included(fitted, states):
    found = fitted.log_prob(states)
    assert found.shape == (120, 39)
    step = fitted.transition(0.0, states[:, :-1])
    law = torch.distributions.MultivariateNormal(step.mean, step.covariance)
    assert_close(found, law.log_prob(states[:, 1:]), atol=2e-3, rtol=1e-3)


def test_density_does_not_depend_on_the_basis(states):
    fits = [
        sdelens.fit(states, dt=0.05, probe="linear", basis=basis, seed=0)
        for basis in ("raw", "whiten:2")
    ]
    one, other = (float(fit.log_prob(states).mean()) for fit in fits)
    assert one == pytest.approx(other, abs=1e-3)


def test_defaults_follow_the_kind_of_time(states):
    small = states[:40, :10]
    assert sdelens.fit(small, dt=0.05, probe="linear").record.density == "exact"
    assert sdelens.fit(small, probe="linear").record.density == "discrete"
    assert sdelens.fit(small, probe="linear").dt == 1.0
    quick = {"width": 4, "least_steps": 2, "epochs": 1}
    assert (
        sdelens.fit(small, dt=0.05, probe="neural", **quick).record.settings["density"] == "auto"
    )


def test_scores_beside_constant_noise_baselines_come_with_every_fit(fitted):
    scores = fitted.record.scores
    assert scores["held_out_documents"] == 12
    assert scores["transitions"] == 12 * 39
    assert "token" not in scores["baselines"]
    for row in scores["baselines"].values():
        assert math.isfinite(row["nll_per_dim"])
    assert scores["gain_over_iid_position"] > 4 * scores["gain_over_iid_position_stderr"]


def test_the_same_seed_is_the_same_fit_and_doubles_are_taken_as_they_are(states):
    one = sdelens.fit(states[:40], dt=0.05, probe="linear", seed=3)
    other = sdelens.fit(states[:40].double(), dt=0.05, probe="linear", seed=3)
    x = torch.ones(2)
    assert torch.equal(one.drift(0.0, x), other.drift(0.0, x))
    assert one.record.scores == other.record.scores


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda s: (s[:1], {}), UsageError, "at least 10"),
        (lambda s: (s[:, :1], {}), UsageError, r"\[path, time, dim\]"),
        (lambda s: (s, {"dt": 0.0}), UsageError, "dt must be a number above 0"),
        (lambda s: (s, {"dt": -1.0}), UsageError, "dt must be a number above 0"),
        (lambda s: (s, {"dt": math.nan}), UsageError, "dt must be a number above 0"),
        (lambda s: (s.where(s < 4, torch.inf), {}), BadNumbers, "finite"),
        (lambda s: (s.where(s < -99, torch.nan), {}), UsageError, "two consecutive states"),
        (lambda s: (s, {"probe": "liner"}), UnknownName, "'linear'"),
        (lambda s: (s, {"ridg": 1.0}), UnknownName, "'ridge'"),
        (lambda s: (s, {"density": "euler"}), UsageError, "density"),
        (lambda s: (torch.ones(40, 10, 2), {}), BadNumbers, "vary"),
    ],
)
def test_what_cannot_be_fitted_is_one_clear_error(states, change, error, said):
    changed, settings = change(states)
    with pytest.raises(error, match=said):
        sdelens.fit(changed, **({"dt": 0.05, "probe": "linear"} | settings))


def test_one_long_path_is_refused_with_what_to_do(states):
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)  # as for a user, without shape checks
    try:
        with pytest.raises(UsageError, match=r"\[path, time, dim\].*reshape"):
            sdelens.fit(states[0], dt=0.05, probe="linear")
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_states_observed_too_rarely_have_no_exact_law_or_a_poor_one():
    rare = randn(60, 30, 1)  # independent: the estimated coefficient is as often negative
    negative = rare.clone()
    for step in range(1, 30):
        negative[:, step] = -0.6 * negative[:, step - 1] + rare[:, step]
    with pytest.raises(BadNumbers, match="logarithm"):
        sdelens.fit(negative, dt=1.0, probe="linear")
    assert sdelens.fit(negative, probe="linear").record.density == "discrete"


def test_a_neural_fit_on_a_tensor_is_compared_under_one_noise_only():
    # no drift at all, but a noise that depends on the state: the same-noise gain must be nothing
    random = torch.Generator().manual_seed(0)
    states = torch.zeros(60, 40, 1)
    for step in range(1, 40):
        scale = (0.2 + 0.8 * states[:, step - 1].square()).sqrt()
        states[:, step] = scale * torch.randn(60, 1, generator=random)
    scores = fit(states, probe="neural", width=16, noise_width=16, least_steps=200).record.scores
    assert scores["noise_column"] == "constant"
    assert scores["gain_over_iid_position"] < 3 * scores["gain_over_iid_position_stderr"] + 0.02


def test_all_networks_of_a_small_fit_stop_when_validation_stops_improving():
    noise = torch.randn(40, 20, 3, generator=torch.Generator().manual_seed(0))
    paths, epochs = Trajectories.from_states(noise, 1.0), {"fit": [], "baselines": []}
    [found] = comparisons(
        [FitTask(paths.select(range(32)), paths.select(range(32, 40)), 0)],
        load("probe", "neural")(width=32, noise_width=32, least_steps=400),
        FitOptions(ensemble=2),
        state_dependent=True,
        progress=FitProgress(epochs["fit"].append, epochs["baselines"].append),
    )
    # independent states: whatever a network learns of them is noise, and 608 transitions are two
    # batches, so 200 epochs are planned for the fit, for its ensemble and for the baselines
    assert len(found.members) == 2
    for of_part in epochs.values():
        assert {epoch.planned for epoch in of_part} == {200}
        assert len(of_part) < 180
        assert max(epoch.validation["diffusion"] for epoch in of_part) < 2 * 1.419
    assert len(found.found.history) < 100


def test_paths_without_a_held_out_transition_are_refused_before_the_fit():
    states = torch.randn(12, 5, 2, generator=torch.Generator().manual_seed(0))
    block = Trajectories.from_states(states, 1.0)
    sides = split(list(range(12)), seed=0)
    mask = block.mask.clone()
    mask[list(sides.test), 1:] = False
    short = Trajectories(block.states, mask, block.times, block.tokens, block.document)
    groups = {number: number for number in range(12)}
    probe = load("probe", "constant")()
    with pytest.raises(UsageError, match="held-out documents contain no usable transition"):
        fit_view(short, sides, groups, probe, kind="constant")


def test_a_numpy_array_is_fitted_like_the_tensor_that_it_holds():
    states = torch.randn(20, 10, 2, generator=torch.Generator().manual_seed(0))
    same = fit(states.numpy(), probe="constant"), fit(states, probe="constant")
    assert torch.equal(*(fitted.drift(0.0, torch.zeros(2)) for fitted in same))


def test_members_of_an_ensemble_have_the_density_that_the_fit_chose():
    states = double_well().simulate(20, 51, seed=0)
    fitted = fit(states, dt=0.1, ensemble=2, least_steps=60, epochs=1)
    assert fitted.record.settings["density"] == "auto"
    assert {member.density for member in fitted.members} == {fitted.record.density}
    assert fitted.record.density in ("kessler", "ozaki")


def test_a_continuous_fit_says_how_far_the_process_turns_within_a_step():
    system = ornstein_uhlenbeck(1)  # dX = -X dt + dW
    fitted = fit(system.simulate(60, 101, seed=0), dt=system.dt, least_steps=300, epochs=2)
    [note] = fitted.record.scores["notes"]
    turn = float(re.match(r"\|J\|dt is ([.\d]+) ", note)[1])
    truth = float((system.drift(torch.zeros(1, 1)) - system.drift(torch.ones(1, 1))) * system.dt)
    # the slope has a standard error of sqrt(2 / T) = 0.06 of itself; the network bends it
    assert turn == pytest.approx(truth, rel=0.35)


def test_traces_above_64_dimensions_are_estimated_and_their_error_is_told():
    system = ornstein_uhlenbeck(66)
    states = system.simulate(20, 31, seed=0)
    fitted = fit(states, dt=system.dt, density="kessler", least_steps=5, epochs=1)
    assert any("traces of J are estimated: ±" in note for note in fitted.record.scores["notes"])


def test_paths_of_unequal_length_are_fitted_like_a_masked_block(states):
    lengths = torch.randint(2, 41, (120,), generator=torch.Generator().manual_seed(0)).tolist()
    listed = [path[:length] for path, length in zip(states, lengths, strict=True)]
    padded = states.clone()
    for path, length in zip(padded, lengths, strict=True):
        path[length:] = math.nan
    block = Trajectories.from_states(states, 0.05)
    block.mask.copy_(torch.arange(40) < torch.tensor(lengths)[:, None])
    how = {"dt": 0.05, "probe": "linear"}
    one, other, masked = (sdelens.fit(each, **how) for each in (listed, padded, block))
    x = torch.tensor([[4.0, -1.0]])
    assert torch.equal(one.drift(0.0, x), other.drift(0.0, x))
    assert torch.equal(one.drift(0.0, x), masked.drift(0.0, x))
    assert one.record.scores == other.record.scores == masked.record.scores


def test_paths_without_a_transition_are_not_held_out(states):
    listed = [*states[:20, :10], *states[20:50, :1], torch.zeros(0, 2)]
    fitted = sdelens.fit(listed, dt=0.05, probe="linear")
    assert fitted.record.scores["held_out_documents"] == 2
    assert "31 of 51 paths without two consecutive states" in fitted.record.scores["notes"][0]


def test_log_prob_takes_what_fit_takes(states):
    fitted = sdelens.fit(states, dt=0.05, probe="linear")
    found = fitted.log_prob([states[0], states[1, :5]])
    assert_close(found[:, :4], fitted.log_prob(states[:2])[:, :4])
    assert found[1, 4:].isnan().all()


@pytest.mark.parametrize("probe", ["linear", "low-rank-linear"])
def test_the_record_names_the_noise_that_was_fitted(states, probe):
    exact = sdelens.fit(states[:40], dt=0.05, probe=probe)
    assert exact.record.settings["noise"] == "full"
    assert exact.sde.noise_type == "general"
    assert sdelens.fit(states[:40], probe=probe).record.settings["noise"] == "diagonal"
    full = sdelens.fit(states[:40], probe=probe, noise="full")
    assert full.record.settings["noise"] == "full"
