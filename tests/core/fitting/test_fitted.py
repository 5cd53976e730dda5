import pytest
import torch
from scipy.linalg import expm
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.fitting.fitted import Fitted, Record, log_density
from sdelens.laws.law import Kernel, Noise
from sdelens.laws.matrices import diffusion_from_step
from sdelens.laws.scale import FullScale
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.paths.basis import BasisSpec, fit_basis
from sdelens.paths.trajectories import Trajectories

DIM, LENGTH, DT = 3, 8, 0.25
SPECS = [
    BasisSpec(name, center)
    for name in ("raw", "standard", f"pca:{DIM}", f"whiten:{DIM}")
    for center in ("all", "position")
]


def randn(*shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random, dtype=torch.float64)


# an Ornstein-Uhlenbeck process whose coordinates have different units, in double precision
UNITS = torch.tensor([0.1, 1.0, 20.0]).double()
RATE = UNITS[:, None] * (randn(DIM, DIM) - 2 * torch.eye(DIM).double()) / UNITS
STEP = torch.from_numpy(expm(RATE.numpy() * DT))
OFFSET = UNITS * torch.tensor([1.0, -2.0, 3.0]).double()
ROOT = UNITS[:, None] * torch.linalg.cholesky(torch.eye(DIM).double() + 0.5)
NOISE = ROOT @ ROOT.mT


def paths(count=60):
    states = [3 * UNITS * randn(count, DIM, seed=1)]
    for step in range(LENGTH - 1):
        states.append(states[-1] @ STEP.mT + OFFSET + randn(count, DIM, seed=2 + step) @ ROOT.mT)
    return torch.stack(states, 1)


class Constant(Noise):
    """The same covariance everywhere."""

    def __init__(self, root):
        self.root = root

    def __call__(self, t, x):
        del t, x
        return FullScale(self.root)

    def tensors(self):
        return {"root": self.root}


def law_in(basis, density):
    """The true law in the coordinates of a basis."""
    encoder, decoder, means = (t.double() for t in (basis.encoder, basis.decoder, basis.means))
    matrix = (decoder @ STEP.mT @ encoder).mT
    covariance = encoder.mT @ NOISE @ encoder
    following = means[1:] if len(means) > 1 else means
    offsets = (means[: len(following)] @ STEP.mT + OFFSET - following) @ encoder
    if density == "exact":
        return LinearSDE.from_step(matrix.float(), offsets[0].float(), covariance.float(), DT)
    mean = AdditiveMean(
        matrix=matrix.float(),
        times=basis.times[: len(offsets)],
        by_time=offsets.float(),
        known=torch.empty(0, dtype=torch.long),
        by_token=torch.zeros(0, DIM),
    )
    root = torch.linalg.cholesky(covariance).float()
    return KernelSDE(mean, Constant(root), dt=DT, diagonal=False)


def true_fit(spec, density="discrete"):
    block = Trajectories.from_states(paths().float(), DT)
    basis = fit_basis(spec, block)
    record = Record(probe="linear", settings={}, density=density, dt=DT, seed=0)
    return Fitted(law_in(basis, density), basis, record)


def variants():
    for spec in SPECS:
        yield pytest.param(spec, "discrete", id=f"{spec.name}-{spec.center}-discrete")
        if spec.center == "all":
            yield pytest.param(spec, "exact", id=f"{spec.name}-exact")


@pytest.mark.parametrize(("spec", "density"), variants())
def test_log_prob_is_in_nats_of_the_datas_coordinates(spec, density):
    states = paths()
    mean = states[:, :-1] @ STEP.mT + OFFSET
    expected = MultivariateNormal(mean, NOISE).log_prob(states[:, 1:])
    found = true_fit(spec, density).log_prob(states.float())
    assert found.shape == (60, LENGTH - 1)
    assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("spec", "density"), variants())
def test_a_transition_is_in_the_datas_coordinates(spec, density):
    states = paths()
    x = states[:, 2].float()
    step = true_fit(spec, density).transition(2 * DT, x)
    assert_close(
        step.mean.double() / UNITS, (states[:, 2] @ STEP.mT + OFFSET) / UNITS, rtol=1e-4, atol=1e-4
    )
    scaled = step.covariance.double() / UNITS[:, None] / UNITS
    assert step.covariance.shape == (60, DIM, DIM)
    assert_close(
        scaled, (NOISE / UNITS[:, None] / UNITS).expand(60, DIM, DIM), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_coefficients_of_a_discrete_kernel_are_those_of_one_step_over_dt(spec):
    states = paths()
    fitted = true_fit(spec)
    drift = fitted.drift(2 * DT, states[:, 2].float())
    expected = (states[:, 2] @ STEP.mT + OFFSET - states[:, 2]) / DT
    assert_close(drift.double() / UNITS, expected / UNITS, rtol=1e-3, atol=1e-3)
    noise = fitted.covariance(2 * DT, states[:, 2].float())
    scaled = noise.double() / UNITS[:, None] / UNITS
    assert_close(
        scaled, (NOISE / DT / UNITS[:, None] / UNITS).expand(60, DIM, DIM), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.center == "all"], ids=str)
def test_coefficients_of_an_exact_law_are_those_of_its_sde(spec):
    states = paths()
    fitted = true_fit(spec, "exact")
    offset = torch.linalg.solve(torch.linalg.inv(RATE) @ (STEP - torch.eye(DIM).double()), OFFSET)
    expected = states[:, 2] @ RATE.mT + offset
    drift = fitted.drift(0.0, states[:, 2].float())
    assert_close(drift.double() / UNITS, expected / UNITS, rtol=1e-3, atol=1e-3)
    diffusion = diffusion_from_step(RATE, NOISE, DT) / UNITS[:, None] / UNITS
    noise = fitted.covariance(0.0, states[:, 2].float()).double() / UNITS[:, None] / UNITS
    assert_close(noise, diffusion.expand(60, DIM, DIM), rtol=1e-3, atol=1e-3)


def test_times_may_be_numbers_or_broadcast_against_any_batch():
    fitted = true_fit(BasisSpec("standard", "position"))
    x = paths()[:6].float().reshape(2, 3, LENGTH, DIM)
    t = DT * torch.arange(LENGTH)
    together = fitted.transition(t, x)
    assert together.mean.shape == (2, 3, LENGTH, DIM)
    assert together.covariance.shape == (2, 3, LENGTH, DIM, DIM)
    for place in (0, 3):
        alone = fitted.transition(float(t[place]), x[1, 2, place])
        assert alone.mean.shape == (DIM,)
        assert_close(alone.mean, together.mean[1, 2, place])
        assert_close(fitted.drift(t[place], x[1, 2, place]), fitted.drift(t, x)[1, 2, place])
        assert fitted.covariance(float(t[place]), x[1, 2, place]).shape == (DIM, DIM)


def test_states_of_any_float_type_are_taken():
    fitted = true_fit(BasisSpec("standard"))
    x = paths()
    for wide, narrow in (
        (fitted.transition(0.0, x).mean, fitted.transition(0.0, x.float()).mean),
        (fitted.transition(0.0, x).covariance, fitted.transition(0.0, x.float()).covariance),
        (fitted.drift(0.0, x), fitted.drift(0.0, x.float())),
        (fitted.covariance(0.0, x), fitted.covariance(0.0, x.float())),
    ):
        assert wide.dtype == torch.float64
        assert narrow.dtype == torch.float32
        assert_close(wide.float(), narrow, rtol=1e-3, atol=1e-3)
    assert fitted.drift(0.0, x.to(torch.bfloat16)).dtype == torch.float32
    assert_close(fitted.log_prob(x), fitted.log_prob(x.float()), rtol=1e-3, atol=1e-3)


def test_log_prob_of_a_block_is_nan_where_a_transition_is_not_observed():
    block = Trajectories.from_states(paths().float(), DT)
    block.mask[1, 4:] = False
    block.states[1, 4:] = torch.nan
    found = true_fit(BasisSpec("standard")).log_prob(block)
    whole = true_fit(BasisSpec("standard")).log_prob(paths().float())
    assert found[1, 3:].isnan().all()
    assert_close(found[1, :3], whole[1, :3])
    assert_close(found[2:], whole[2:])


def test_fewer_directions_give_the_law_within_them():
    fitted = true_fit(BasisSpec(f"whiten:{DIM}"))
    few = fit_basis(BasisSpec("whiten:2"), Trajectories.from_states(paths().float(), DT))
    kernel = fitted.sde
    mean = AdditiveMean(
        kernel.mean.matrix[:2, :2],
        kernel.mean.times,
        kernel.mean.by_time[:, :2],
        kernel.mean.known,
        torch.zeros(0, 2),
    )
    law = KernelSDE(mean, Constant(kernel.noise.root[:2, :2]), dt=DT, diagonal=False)
    small = Fitted(law, few, fitted.record)
    step = small.transition(0.0, paths()[:, 0].float())
    scaled = step.covariance[0].double() / UNITS[:, None] / UNITS
    values = torch.linalg.eigvalsh(scaled)
    assert values[0].abs() < 1e-5 * values[-1]
    [latent] = few.view(Trajectories.from_states(paths().float(), DT))
    expected = log_density(law, latent) - few.log_volume()
    assert_close(small.log_prob(paths().float()), expected)


def test_a_law_of_tokens_has_no_sde_and_the_error_says_what_to_fit():
    fitted = true_fit(BasisSpec("raw"))
    kernel = Kernel(fitted.sde.mean, fitted.sde.noise)
    other = Fitted(kernel, fitted.basis, Record("token", {}, "discrete", DT, 0))
    with pytest.raises(
        UsageError, match=r"'token' gives a law.* not an SDE: fit with --probe neural"
    ):
        other.drift(0.0, torch.zeros(DIM))
    assert_close(other.log_prob(paths().float()), fitted.log_prob(paths().float()))


def test_states_of_another_dimension_are_refused_and_the_sizes_named():
    made = true_fit(BasisSpec("raw"))
    with pytest.raises(UsageError, match=r"must be \[\.\.\., 3\].*got \[2, 5\]"):
        made.drift(0.0, randn(2, 5))
    assert "3 coordinates" in repr(made)
