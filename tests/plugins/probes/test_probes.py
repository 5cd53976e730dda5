import math
from dataclasses import asdict

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import BadNumbers, UsageError
from sdelens.interfaces import load
from sdelens.laws.resolution import StepTooLong
from sdelens.paths.trajectories import Trajectories
from sdelens.registry import plugins
from sdelens.runs.run import Run
from sdelens.settings import build

QUICK = {"width": 32, "epochs": 5, "least_steps": 300}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


RATE = torch.tensor([[-1.0, 0.6], [-0.6, -0.8]]).double()
SIGMA = torch.tensor([[0.5, 0.0], [0.2, 0.4]]).double()
DT = 0.1


def step_law():
    """Matrix and covariance of dX = A X dt + S dW over DT, by a fine Riemann sum."""
    matrix = torch.linalg.matrix_exp(RATE * DT)
    parts = 2000
    times = (torch.arange(parts, dtype=torch.double) + 0.5) * DT / parts
    roots = torch.stack([torch.linalg.matrix_exp(RATE * s) @ SIGMA for s in times])
    return matrix, (roots @ roots.mT).mean(0) * DT


@pytest.fixture(scope="module")
def ornstein():
    """An Ornstein-Uhlenbeck process, 250 paths of 60 observations."""
    matrix, covariance = step_law()
    root = torch.linalg.cholesky(covariance)
    x = randn(250, 2).double() * 0.4
    states = [x]
    for step in range(59):
        x = x @ matrix.mT + randn(250, 2, seed=step + 1).double() @ root.mT
        states.append(x)
    return torch.stack(states, 1).float()


def double_well(paths=200, length=50):
    x = 0.5 * randn(paths, 1)
    states = [x]
    for step in range(length - 1):
        x = x + 0.2 * (x - x**3) + 0.3 * randn(paths, 1, seed=step + 1)
        states.append(x)
    return torch.stack(states, 1)


def rate_errors(states):
    """Standard errors of A by the efficient bound: Cov(vec A_step) = S (x) (X'X)^-1, over dt."""
    _, covariance = step_law()
    x = states[:, :-1].reshape(-1, 2).double()
    gram = torch.linalg.inv(x.mT @ x * 0.8)  # 80% of the paths train
    return (covariance.diagonal()[:, None] * gram.diagonal()[None]).sqrt() / DT


def test_the_exact_linear_probe_recovers_drift_and_diffusion(ornstein):
    fitted = sdelens.fit(ornstein, dt=DT, probe="linear", seed=0)
    assert fitted.record.density == "exact"
    origin = fitted.drift(0.0, torch.zeros(2))
    slope = torch.stack([fitted.drift(0.0, e) - origin for e in torch.eye(2)], 1)
    # the matrix logarithm changes errors of the step's matrix by a factor near 1 at this dt
    assert ((slope - RATE).abs() < 4 * 1.2 * rate_errors(ornstein)).all()
    count = 0.8 * 250 * 59
    truth = (SIGMA @ SIGMA.mT).float()
    found = fitted.covariance(0.0, torch.zeros(2))
    variances = truth.diagonal()
    errors = ((truth.square() + variances[:, None] * variances) / count).sqrt()
    assert ((found - truth).abs() < 4 * 1.2 * errors).all()


@pytest.mark.parametrize(
    ("probe", "settings"),
    [("linear", {"density": "discrete"}), ("neural", {"density": "discrete", **QUICK})],
)
def test_discrete_probes_recover_the_transition(ornstein, probe, settings):
    fitted = sdelens.fit(ornstein, dt=DT, probe=probe, seed=0, **settings)
    matrix, covariance = step_law()
    x = torch.tensor([[0.3, 0.0], [0.0, -0.3], [0.2, 0.2]])
    step = fitted.transition(0.0, x)
    # the error of a regression at x: residual deviation times sqrt((1 + x'C^-1 x) / transitions);
    # a network has many more parameters than two lines
    inside = (x.square() / ornstein.var((0, 1))).sum(-1, keepdim=True)
    error = covariance.diagonal().float().sqrt() * ((1 + inside) / (0.8 * 250 * 59)).sqrt()
    slack = 4 if probe == "linear" else 20
    assert ((step.mean - x @ matrix.mT.float()).abs() < slack * error).all()
    spread = step.covariance.diagonal(dim1=-2, dim2=-1)
    assert_close(spread, covariance.diagonal().float().expand(3, 2), rtol=0.15, atol=0)


def test_constant_recovers_a_drifting_random_walk():
    states = (randn(200, 30, 2) * torch.tensor([0.5, 2.0]) + torch.tensor([0.1, -0.3])).cumsum(1)
    fitted = sdelens.fit(states, probe="constant")
    count = 160 * 29
    drift = fitted.drift(0.0, torch.zeros(2))
    for found, truth, std in zip(drift, (0.1, -0.3), (0.5, 2.0), strict=True):
        assert abs(float(found) - truth) < 4 * std / math.sqrt(count)
    found = fitted.transition(0.0, torch.zeros(2)).covariance.diagonal().sqrt()
    assert_close(found, torch.tensor([0.5, 2.0]), rtol=4 / math.sqrt(2 * count), atol=0)


def test_token_recovers_the_mean_after_each_token():
    tokens = torch.randint(5, (100, 30), generator=torch.Generator().manual_seed(0))
    table = randn(5, 2, seed=1)
    states = 0.5 * randn(100, 30, 2, seed=2)
    states[:, 1:] += table[tokens[:, :-1]]
    block = Trajectories.from_states(states, 1.0)
    block = Trajectories(block.states, block.mask, block.times, tokens, block.document)
    fitted = sdelens.fit(block, probe="token", basis="raw")
    mean = fitted.law.predict(next(iter(fitted.basis.view(block)))).mean[:, 1:-1]
    decoded = fitted.basis.decode(torch.zeros(mean.shape[:-1]), mean)
    truth = table[tokens[:, 1:-1]]
    # each of 5 x 30 token and position effects is known from some 500 and 80 observations
    assert float((decoded - truth).square().mean().sqrt()) < 0.5 * 2 * (1 / 500 + 1 / 80) ** 0.5
    with pytest.raises(UsageError, match="not an SDE"):
        _ = fitted.sde


def test_neural_beats_linear_on_a_double_well():
    fitted = sdelens.fit(double_well(), probe="neural", seed=0, **QUICK)
    row = fitted.record.scores["baselines"]["linear"]
    assert row["gain_of_fit"] > 4 * row["gain_of_fit_stderr"]
    drift = fitted.drift(20.0, torch.tensor([[0.5], [-0.5], [1.3], [-1.3]]))[:, 0]
    assert (drift.sign() == torch.tensor([1.0, -1.0, -1.0, 1.0])).all()


BRIEF = {"least_steps": 10, "width": 8, "noise_width": 8, "epochs": 1, "batch": 512}
FORMS = ("diagonal", "correlated:1")


def cases():
    for probe, settings in [
        ("constant", {}),
        ("constant", {"noise": "correlated:1"}),
        ("linear", {"density": "exact"}),
        ("linear", {"density": "discrete", "noise": "correlated:1"}),
        ("token", {"noise": "correlated:1"}),
        ("neural", {"least_steps": 10, "width": 8, "epochs": 1}),
        ("neural", {"least_steps": 10, "width": 8, "epochs": 1, "noise": "correlated:1"}),
        *(("neural", BRIEF | {"density": kind}) for kind in ("kessler", "ozaki", "auto")),
        ("neural", BRIEF | {"density": "kessler", "noise": "full"}),
        *(("neural", BRIEF | {"density": "strang", "additive": True, "noise": n}) for n in FORMS),
    ]:
        yield pytest.param(probe, settings, id=f"{probe}-{'-'.join(map(str, settings.values()))}")


@pytest.mark.parametrize(("probe", "settings"), cases())
def test_two_fits_have_the_same_bytes_and_restore_the_same_law(ornstein, probe, settings):
    tokens = torch.arange(30).expand(60, 30)
    block = Trajectories.from_states(ornstein[:60, :30], DT)
    block = Trajectories(block.states, block.mask, block.times, tokens, block.document)
    made = build(load("probe", probe), settings, probe)
    state = torch.random.get_rng_state()
    train, held = block.rows(torch.arange(50)), block.rows(torch.arange(50, 60))
    one, other = (made.fit(train, held, seed=7, watch=lambda _: None).law for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert one.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(t, other.tensors()[n]) for n, t in one.tensors().items())
    assert not any(t.requires_grad for t in one.tensors().values())
    again = made.restore({"dt": DT, "density": getattr(one, "density", None)}, one.tensors())
    assert type(again) is type(one)
    first, second = one.predict(held), again.predict(held)
    assert torch.equal(first.mean, second.mean)
    following = held.states + 0.1
    assert torch.equal(first.log_density(following), second.log_density(following))


def fast_ornstein(rate, dt=0.1):
    """Of unit variance per unit of time: 20,000 states in 200 paths from stationarity."""
    shrink = math.exp(-rate * dt)
    root = math.sqrt((1 - shrink**2) / (2 * rate))
    x = randn(200) / math.sqrt(2 * rate)
    states = [x]
    for step in range(99):
        x = shrink * x + root * randn(200, seed=step + 1)
        states.append(x)
    return torch.stack(states, 1)[..., None]


SMALL = {"width": 8, "noise_width": 8, "least_steps": 150, "batch": 2048, "additive": True}


def moments_of(fitted, rate):
    """The slope of the drift over two deviations, and the variance per unit of time."""
    ends = torch.tensor([[-1.0], [1.0]]) / math.sqrt(2 * rate)
    low, high = fitted.drift(0.0, ends)[:, 0]
    slope = float((high - low) / (ends[1] - ends[0]))
    return slope, float(fitted.covariance(0.0, torch.zeros(1)))


@pytest.mark.parametrize("density", ["kessler", "ozaki", "strang", "auto"])
def test_a_density_of_higher_order_recovers_what_eulers_shrinks(density):
    rate, count = 2.0, 160 * 99
    fitted = sdelens.fit(fast_ornstein(rate), dt=0.1, seed=0, density=density, **SMALL)
    slope, variance = moments_of(fitted, rate)
    # Euler's are 9% and 18% too small; a small network has a few times the error of a line, and
    # kessler's own bias is (rate dt)^2 / 6 of the slope
    assert abs(variance - 1) < 0.01 + 4 * math.sqrt(2 / count)
    assert abs(slope + rate) < rate**3 * 0.1**2 / 6 + 4 * 2 * math.sqrt(2 * rate / (count * 0.1))
    assert fitted.record.density == {"auto": "kessler"}.get(density, density)


def test_euler_warns_where_the_step_is_too_long_for_it():
    with pytest.warns(StepTooLong, match=r"\|J\|dt is 0\.(1|2)\d? .*euler.*use --density kessler"):
        fitted = sdelens.fit(fast_ornstein(2.0), dt=0.1, seed=0, density="euler", **SMALL)
    slope, variance = moments_of(fitted, 2.0)
    assert abs(variance - (1 - math.exp(-0.4)) / 0.4) < 0.03
    assert slope > -1.95


def test_auto_stays_with_euler_where_the_step_is_short():
    fitted = sdelens.fit(fast_ornstein(0.1), dt=0.1, seed=0, density="auto", **SMALL)
    assert fitted.record.density == "euler"


def test_the_splitting_is_refused_before_any_work_where_noise_depends_on_the_state():
    with pytest.raises(UsageError, match="additive"):
        build(load("probe", "neural"), {"density": "strang"}, "neural")


def test_another_seed_is_another_neural_fit(ornstein):
    one, other = (
        sdelens.fit(ornstein[:40, :20], probe="neural", seed=s, width=8, least_steps=10, epochs=1)
        for s in (0, 1)
    )
    x = torch.ones(2)
    assert not torch.equal(one.drift(0.0, x), other.drift(0.0, x))


def test_history_holds_the_losses_of_the_paper(ornstein):
    fitted = sdelens.fit(ornstein[:40, :20], probe="neural", width=8, least_steps=20, epochs=2)
    for epoch in fitted.record.history:
        for losses in (epoch.train, epoch.validation):
            assert {"drift", "diffusion", "total"} <= set(losses)
            assert losses["drift"] > 0


@pytest.mark.parametrize("name", ["constant", "linear", "token", "neural"])
def test_every_probe_is_installed_and_names_its_densities(name):
    probe = plugins("probe")[name].load()()
    assert probe.density in probe.densities


def test_states_that_jump_back_and_forth_have_no_exact_law():
    # an autoregression with coefficient -0.5: its matrix has no real logarithm
    x = randn(60, 1)
    states = [x]
    for step in range(30):
        x = -0.5 * x + randn(60, 1, seed=step + 1)
        states.append(x)
    with pytest.raises(BadNumbers, match="logarithm"):
        sdelens.fit(torch.stack(states, 1), dt=1.0, probe="linear")


def test_a_saved_run_is_rebuilt_by_a_registered_probe_only(tmp_path):
    from sdelens.errors import UnknownName
    from sdelens.protocols import Site
    from sdelens.states.recording import View
    from sdelens.store import write_json, write_tensors
    from sdelens.testing.small_model import small_model

    folder = tmp_path / "fits" / "L00"
    manifest = {"schema": 1, "state": "done", "seed": 0, "device": "cpu", "threads": 1}
    manifest |= dict.fromkeys(("python", "platform"), "") | {"argv": [], "plugins": []}
    manifest |= {name: {} for name in ("settings", "versions", "timings")}
    write_json(tmp_path / "manifest.json", manifest | {"model": asdict(small_model().card)})
    write_json(folder / "config.json", {"probe": "nowhere", "settings": {}})
    write_tensors(folder / "sde.safetensors", {"law.a": torch.zeros(1)})
    with pytest.raises(UnknownName, match="nowhere"):
        Run(tmp_path).fitted(View(Site("block", 0)))
