import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from torch.testing import assert_close

from sdelens.errors import UsageError
from sdelens.laws.densities import kessler, ozaki
from sdelens.laws.expansion import EXACT, Coefficients, Precision, training
from sdelens.laws.jets import differences
from sdelens.laws.law import Gaussian
from sdelens.laws.scale import DiagonalScale, FullScale
from sdelens.laws.splitting import Linear, strang
from sdelens.testing import double_well
from tests.core.laws.processes import MATRIX, OFFSET, UNIT, correlated_process, randn


def linear_process(dt, precision=EXACT):
    root = torch.linalg.cholesky(UNIT * dt)
    return Coefficients(
        lambda x: (x @ MATRIX.mT + OFFSET) * dt, lambda _: FullScale(root), True, precision
    )


def linear_law(x, dt):
    """Mean and covariance of a step by quadrature: no block matrices."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    flows = [torch.from_numpy(expm(MATRIX.numpy() * (n + 1) * dt / 2)) for n in nodes]
    parts = list(zip(weights * dt / 2, flows, strict=True))
    mean = x @ torch.from_numpy(expm(MATRIX.numpy() * dt)).mT + sum(
        w * f @ OFFSET for w, f in parts
    )
    return mean, sum(w * f @ UNIT @ f.mT for w, f in parts)


def transition(density, coefficients, x, linear=None):
    if density == "strang":
        return strang(coefficients, linear, x)
    return {"kessler": kessler, "ozaki": ozaki}[density](coefficients, x)


@pytest.mark.parametrize("precision", [EXACT, training(3)], ids=["exact", "training"])
@pytest.mark.parametrize("density", ["ozaki", "strang"])
def test_local_linearisation_and_splitting_are_exact_for_a_linear_drift(density, precision):
    x, dt = randn(2, 4, 3, seed=3), 0.4
    linear = Linear(MATRIX * dt, OFFSET * dt)
    law = transition(density, linear_process(dt, precision), x, linear)
    mean, covariance = linear_law(x, dt)
    assert_close(law.mean, mean)
    assert_close(law.covariance().covariance().expand(2, 4, 3, 3), covariance.expand(2, 4, 3, 3))
    following = mean + randn(2, 4, 3, seed=4)
    truth = Gaussian(mean, FullScale(torch.linalg.cholesky(covariance)))
    assert_close(law.log_density(following), truth.log_density(following))


def orders(error):
    """By how many powers of two an error falls as the step is halved, twice."""
    found = torch.stack([error(dt) for dt in (0.1, 0.05, 0.025)]).abs().amax(-1)
    return (found[:-1] / found[1:]).log2()


def test_kesslers_mean_and_covariance_of_a_linear_process_are_wrong_by_third_order():
    x = randn(6, 3, seed=3)

    def of_means(dt):
        return (kessler(linear_process(dt), x).mean - linear_law(x, dt)[0]).flatten()

    def of_covariances(dt):
        found = kessler(linear_process(dt), x).covariance().covariance()
        return (found - linear_law(x, dt)[1]).flatten()

    assert (orders(of_means) > 2.8).all()
    assert (orders(of_covariances) > 2.8).all()


RATE = torch.tensor([[-1.0, 0.8], [-0.3, -0.7]]).double()


LEVELS = torch.tensor([0.5, 0.9]).double()


def bent_process(dt, correlation=None):
    def drift(x):
        y = x.arcsinh()
        return dt * (y.cosh() * (y @ RATE.mT) + y.sinh() * LEVELS / 2)

    return Coefficients(drift, lambda x: DiagonalScale((LEVELS * dt).sqrt() * x.arcsinh().cosh()))


def bent_moments(x, dt):
    """Mean and covariance of sinh(Y') by Gauss-Hermite quadrature of the exact law of Y'."""
    flow = torch.from_numpy(expm(RATE.numpy() * dt))
    nodes, weights = np.polynomial.legendre.leggauss(20)
    flows = [torch.from_numpy(expm(RATE.numpy() * (n + 1) * dt / 2)) for n in nodes]
    pairs = zip(weights * dt / 2, flows, strict=True)
    covariance = sum(w * f @ LEVELS.diag() @ f.mT for w, f in pairs)
    points, mass = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(24))
    grid, weight = torch.cartesian_prod(points, points), torch.cartesian_prod(mass, mass).prod(-1)
    weight = weight / weight.sum()
    y = (x.arcsinh() @ flow.mT)[:, None] + grid @ torch.linalg.cholesky(covariance).mT
    mean = torch.einsum("n,bni->bi", weight, y.sinh())
    gap = y.sinh() - mean[:, None]
    return mean, torch.einsum("n,bni,bnj->bij", weight, gap, gap)


@pytest.mark.parametrize("density", ["kessler", "ozaki"])
def test_with_state_dependent_noise_mean_and_covariance_are_still_wrong_by_third_order(density):
    x = randn(6, 2, seed=3)

    def of_means(dt):
        return (transition(density, bent_process(dt), x).mean - bent_moments(x, dt)[0]).flatten()

    def of_covariances(dt):
        found = transition(density, bent_process(dt), x).covariance().covariance()
        return (found - bent_moments(x, dt)[1]).flatten()

    assert (orders(of_means) > 2.6).all()
    assert (orders(of_covariances) > 2.6).all()


X = torch.linspace(-1.6, 1.6, 9).double()[:, None, None]


def well(dt):
    return Coefficients(
        lambda x: (x - x**3) * dt,
        lambda x: DiagonalScale(0.7 * math.sqrt(dt) * torch.ones(1).double()),
        True,
    )


def well_law(density, dt, x):
    if density == "euler":
        coefficients = well(dt)
        return Gaussian(x + coefficients.drift(x), coefficients.noise(x))
    linear = Linear(torch.tensor([[-0.5 * dt]]).double(), torch.zeros(1).double())
    return transition(density, well(dt), x, linear)


def divergence(density, dt):
    """KL of a density from the exact law, over states and next states, in nats."""
    following = torch.linspace(-2.8, 2.8, 1401).double()[:, None].expand(len(X), -1, 1)
    x = X.expand_as(following)
    truth = double_well(dt=dt).log_density(x, following)
    found = well_law(density, dt, x).log_density(following)
    return torch.trapezoid(truth.exp() * (truth - found), following[..., 0]).mean()


@pytest.mark.parametrize("density", ["kessler", "ozaki", "strang"])
def test_a_density_of_higher_order_is_nearer_to_the_fokker_planck_law_than_euler(density):
    euler, better = (
        torch.stack([divergence(name, dt) for dt in (0.1, 0.05)]) for name in ("euler", density)
    )
    assert (better < 0.5 * euler).all()
    # what is left is the law's skewness, of second order, where euler's variance is of first
    assert better[0] / better[1] > 2.5
    assert (better > 0).all()


@pytest.mark.parametrize("density", ["kessler", "ozaki", "strang"])
def test_densities_hold_one_unit_of_probability(density):
    following = torch.linspace(-3.0, 3.0, 3001).double()[:, None].expand(len(X), -1, 1)
    total = torch.trapezoid(
        well_law(density, 0.1, X.expand_as(following)).log_density(following).exp(),
        following[..., 0],
    )
    assert_close(total, torch.ones_like(total), rtol=0, atol=1e-5)


def test_the_moments_of_the_splitting_are_those_of_its_density():
    following = torch.linspace(-3.0, 3.0, 3001).double()[:, None].expand(len(X), -1, 1)
    p = well_law("strang", 0.05, X.expand_as(following)).log_density(following).exp()
    law = well_law("strang", 0.05, X[:, 0])
    y = following[..., 0]
    mean = torch.trapezoid(p * y, y)
    variance = torch.trapezoid(p * (y - mean[:, None]).square(), y)
    # to second order: what is left is of third, dt^3 = 1.3e-4
    assert_close(law.mean[:, 0], mean, rtol=0, atol=1e-4)
    assert_close(law.covariance().variance()[:, 0], variance, rtol=5e-3, atol=0)


def test_the_density_by_products_is_that_of_the_covariance_matrix():
    x, following = randn(5, 3), randn(5, 3, seed=1)
    law = kessler(correlated_process(), x)
    assert_close(
        law.log_density(following),
        Gaussian(law.mean, law.covariance()).log_density(following),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("density", ["kessler", "strang"])
def test_draws_have_the_laws_mean_and_covariance(density):
    count = 40_000
    if density == "kessler":
        law = kessler(correlated_process(), randn(1, 3).expand(count, 3))
    else:
        law = well_law("strang", 0.02, torch.full((count, 1), 0.6).double())
    draws = law.sample(0)
    assert torch.equal(draws, law.sample(0))
    covariance = law.covariance().covariance()[0]
    spread = covariance.diagonal()
    assert ((draws.mean(0) - law.mean[0]).abs() < 4 * (spread / count).sqrt()).all()
    error = ((covariance.square() + spread[:, None] * spread) / count).sqrt()
    assert ((draws.mT.cov().reshape(covariance.shape) - covariance).abs() < 4 * error).all()


def fitted_matrix(precision):
    """The rate of a process with strongly correlated noise, under independent noises."""
    dt, count = 0.1, 20_000
    unit = torch.tensor([[1.0, 0.8], [0.8, 1.0]]).double()
    truth = torch.tensor([[-1.0, 0.0], [0.0, -1.0]]).double()
    shrink = math.exp(-dt)
    root = torch.linalg.cholesky(unit * (1 - shrink**2) / 2)
    x = randn(count, 2) @ torch.linalg.cholesky(unit / 2).mT
    following = shrink * x + randn(count, 2, seed=1) @ root.mT
    matrix = torch.zeros(2, 2).double().requires_grad_(True)
    logs = torch.full((2,), 0.5 * math.log(dt), dtype=torch.float64).requires_grad_(True)
    stepper = torch.optim.Adam([matrix, logs], lr=0.05)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(stepper, 120)
    c = Coefficients(
        lambda x: dt * x @ matrix.mT, lambda x: DiagonalScale(logs.exp()), True, precision
    )

    for _ in range(120):
        stepper.zero_grad()
        (-kessler(c, x).log_density(following).mean()).backward()
        stepper.step()
        slower.step()
    # the efficient error of a matrix's entry: sqrt(a_ii (C^-1)_jj / T), about 0.05 here
    return float((matrix.detach() - truth).abs().max())


def test_a_noise_of_the_wrong_form_spoils_the_drift_unless_they_are_fitted_apart():
    assert fitted_matrix(training(2)) < 4 * math.sqrt(2 / 0.36 / 2000)
    assert fitted_matrix(Precision(differences)) > 0.5


def test_a_density_of_whole_jacobians_in_too_many_dimensions_says_what_to_use():
    x = torch.zeros(2, 17)
    c = Coefficients(torch.zeros_like, lambda x: DiagonalScale(torch.ones_like(x)), True)
    with pytest.raises(
        UsageError, match=r"ozaki supports at most 16 dimensions, got 17: .*kessler"
    ):
        ozaki(c, x)


def test_the_splitting_of_a_process_with_state_dependent_noise_is_refused():
    linear = Linear(torch.zeros(2, 2).double(), torch.zeros(2).double())
    with pytest.raises(UsageError, match="additive"):
        strang(bent_process(0.1), linear, randn(3, 2))
