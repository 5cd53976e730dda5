"""The size of a fitted noise, against noise of known size."""

from dataclasses import dataclass, replace

import pytest
import torch

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.language.noise_magnitude import (
    NoiseMagnitudes,
    drift_uncertainty,
    noise_along,
    noise_magnitude,
    noise_magnitudes,
)
from sdelens.laws.law import Noise
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import DiagonalScale, FullScale
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

SPREAD = torch.tensor([1.0, 10.0])


@dataclass(frozen=True, eq=False)
class Growing(Noise):
    """Noise as large as the first coordinate."""

    def __call__(self, t, x):
        return DiagonalScale(x[..., :1].abs().expand(x.shape) + 0.1)

    def tensors(self):
        return {}


@pytest.fixture(scope="module")
def paths():
    states = torch.randn(30, 12, 2, generator=generator(1)) * SPREAD
    return Trajectories.from_states(states, 1.0)


def mean(scale=0.0):
    blank = torch.empty(0, dtype=torch.long)
    return AdditiveMean(
        scale * torch.eye(2), torch.zeros(1), torch.zeros(1, 2), blank, torch.zeros(0, 2)
    )


def fitted(paths, noise, basis="raw", members=(), dt=1.0):
    law = KernelSDE(mean(), noise, dt=dt)
    made = fit_basis(BasisSpec(basis), paths)
    return Fitted(law, made, Record("linear", {}, "discrete", dt, 0), members=tuple(members))


def test_constant_noise_has_its_standardised_size(paths):
    fit = fitted(paths, ConstantNoise.independent(torch.tensor([0.5, 4.0])))
    found = NoiseMagnitudes.of(fit, fit.encoded(paths))
    spread = fit.basis.spread
    truth = float((((0.5 / spread[0]) ** 2 + (4.0 / spread[1]) ** 2) / 2).sqrt())
    assert found.constant
    assert found.aleatoric.tolist() == [pytest.approx(truth, rel=1e-5)] * (30 * 11)
    assert found.epistemic.isnan().all()


def test_it_is_of_one_step_whatever_the_unit_of_time(paths):
    z, t = torch.ones(4, 2), torch.zeros(4)
    noise = ConstantNoise.independent(torch.tensor([0.5, 4.0]))
    per_step = noise_magnitude(fitted(paths, noise), t, z)
    torch.testing.assert_close(noise_magnitude(fitted(paths, noise, dt=0.1), t, z), per_step)


def test_noise_that_grows_with_the_state_is_not_constant(paths):
    fit = fitted(paths, Growing(), basis="standard")
    latent = fit.encoded(paths)
    found = NoiseMagnitudes.of(fit, latent)
    assert not found.constant
    expected = next(iter(latent)).flat().x[:, 0].abs() + 0.1
    torch.testing.assert_close(found.aleatoric, expected.double(), rtol=1e-4, atol=1e-6)
    assert torch.equal(noise_magnitudes(fit, latent), found.aleatoric)


def test_epistemic_is_the_deviation_of_the_drift_between_members(paths):
    members = [KernelSDE(mean(scale), Growing()) for scale in (0.1, 0.2, 0.6)]
    fit = fitted(paths, Growing(), "standard", members)
    z, t = torch.randn(5, 2, generator=generator(2)), torch.zeros(5)
    # drifts are (a - 1)z, so that they differ as a does
    truth = torch.tensor([0.1, 0.2, 0.6]).std() * z.square().mean(-1).sqrt()
    torch.testing.assert_close(drift_uncertainty(fit, t, z), truth.double(), rtol=1e-5, atol=1e-7)
    data = fit.basis.decode(t, z)
    errors = (fit.drift_stderr(t, data) / fit.basis.spread).square().mean(-1).sqrt()
    torch.testing.assert_close(drift_uncertainty(fit, t, z), errors.double(), rtol=1e-4, atol=1e-6)


def test_one_member_says_nothing(paths):
    fit = fitted(paths, Growing(), members=[KernelSDE(mean(), Growing())])
    assert drift_uncertainty(fit, torch.zeros(3), torch.ones(3, 2)).isnan().all()


@pytest.mark.parametrize(
    "scale",
    [
        DiagonalScale(torch.tensor([[1.0, 2.0], [3.0, 4.0]])),
        FullScale(torch.tensor([[1.0, 0.0], [0.5, 2.0]])),
        LowRankScale(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [-1.0]])),
    ],
    ids=lambda scale: type(scale).__name__,
)
def test_noise_along_an_axis_is_the_root_of_its_quadratic_form(scale):
    axes = torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    form = axes.mT @ scale.covariance() @ axes
    truth = form.diagonal(dim1=-2, dim2=-1).sqrt().expand(2, 2)
    torch.testing.assert_close(noise_along(scale, axes, 2), truth)


def test_documents_and_positions_are_those_of_the_steps(paths):
    fit = fitted(paths, Growing())
    late = replace(paths, mask=torch.arange(12) >= torch.arange(30)[:, None] % 4)
    found = NoiseMagnitudes.of(fit, fit.encoded(late))
    assert len(found.document) == int(late.steps.sum())
    for document in range(4):
        own = found.position[found.document == document]
        assert own.tolist() == list(range(document % 4, 11))


def test_no_transition_is_refused(paths):
    fit = fitted(paths, Growing())
    single = replace(paths, mask=(torch.arange(12) == 3).expand(30, 12))
    with pytest.raises(ValueError, match="transition"):
        NoiseMagnitudes.of(fit, fit.encoded(single))
