"""Shares of motion against systems in which they are known in closed form."""

from dataclasses import replace

import pytest
import torch

from sdelens.fitting.fitted import Fitted, Record
from sdelens.language.increment_shares import IncrementShares, SquaredIncrements
from sdelens.language.surprisal import Surprisal
from sdelens.laws.sde import LinearSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.standard_metric import standard_weights
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator

DECAY, DIM = 0.6, 3
SCALES = torch.tensor([0.1, 1.0, 30.0])
MIX = torch.tensor([[1.0, 0.0, 0.0], [0.5, 1.0, 0.0], [0.0, -0.5, 1.0]])


@pytest.fixture(scope="module")
def paths():
    """Stationary X' = 0.6 X + noise, its coordinates mixed and of unequal size."""
    noise = torch.randn(21, 400, DIM, generator=generator(0), dtype=torch.float64)
    states = [noise[0] / (1 - DECAY**2) ** 0.5]
    for step in noise[1:]:
        states.append(DECAY * states[-1] + step)
    return Trajectories.from_states(torch.stack(states, 1) @ MIX.double() * SCALES.double(), 1.0)


def fitted(paths, name="raw", decay=DECAY, noise=1.0):
    """The true law in the coordinates of a basis, or one that is off."""
    basis = fit_basis(BasisSpec(name), paths)
    rest = replace(basis, means=torch.zeros_like(basis.means))
    forward = (MIX * SCALES) @ rest.encoder
    law = LinearSDE.from_step(
        decay * torch.eye(rest.latent).double(),
        torch.zeros(rest.latent).double(),
        noise * (forward.mT @ forward).double(),
        1.0,
    )
    law = LinearSDE(**{k: t.float() for k, t in law.tensors().items()}, dt=1.0)
    return Fitted(law, rest, Record("linear", {}, "exact", 1.0, 0))


def shares(paths, fit, seed=0):
    motion = SquaredIncrements.of(fit, fit.encoded(paths))
    one = torch.zeros_like(motion.document)
    return IncrementShares.of(motion, one, motion.document, kinds=1)


@pytest.mark.parametrize("name", ["raw", "standard", "pca:3", "whiten:3"])
def test_the_shares_of_an_ornstein_uhlenbeck_process_are_the_closed_form(paths, name):
    found = shares(paths, fitted(paths, name))
    # T = 2(1 - a) s², E|r|² = (1 - a²) s² and E|X'|² = s²
    for part, truth in (
        (found.drift, (1 - DECAY) / 2),
        (found.noise, (1 + DECAY) / 2),
        (found.mean, 1 - 1 / (2 * (1 - DECAY))),
        (found.lead, (1 - DECAY) / 2 - 1 + 1 / (2 * (1 - DECAY))),
        (found.gap, 0.0),
        (found.motion, 2 * (1 - DECAY)),
    ):
        assert abs(float(part.value[0]) - truth) < 4 * float(part.stderr[0])


@pytest.mark.parametrize("name", ["raw", "pca:3", "whiten:3"])
def test_the_metric_does_not_depend_on_the_basis(paths, name):
    standard, other = (shares(paths, fitted(paths, n)) for n in ("standard", name))
    assert float(other.drift.value) == pytest.approx(float(standard.drift.value), rel=1e-4)
    assert float(other.motion.value) == pytest.approx(float(standard.motion.value), rel=1e-4)


@pytest.mark.parametrize("name", ["raw", "standard", "pca:2", "whiten:2", "whiten:3"])
def test_the_axes_of_every_basis_are_orthogonal_in_the_metric(paths, name):
    basis = fit_basis(BasisSpec(name), paths)
    rows = basis.decoder.double() / basis.spread.double()
    gram, weights = rows @ rows.mT, standard_weights(basis)
    torch.testing.assert_close(gram, weights.diag(), rtol=1e-5, atol=1e-5 * float(weights.max()))


def test_noise_of_twice_the_variance_has_a_gap_of_one(paths):
    gap = shares(paths, fitted(paths, noise=2.0)).gap
    assert abs(float(gap.value) - 1) < 4 * float(gap.stderr)


def test_the_random_walk_has_no_drift(paths):
    motion = shares(paths, fitted(paths, decay=1.0 - 1e-6))
    assert float(motion.drift.value) == pytest.approx(0, abs=1e-4)


def test_classes_add_up_to_the_whole(paths):
    fit = fitted(paths)
    motion = SquaredIncrements.of(fit, fit.encoded(paths))
    kind = torch.arange(len(motion.document)) % 3
    parts = IncrementShares.of(motion, kind, motion.document, kinds=4)
    whole = shares(paths, fit)
    weight = (parts.motion.value * parts.count)[:3]
    total = (parts.drift.value[:3] * weight).sum() / weight.sum()
    assert float(total) == pytest.approx(float(whole.drift.value), rel=1e-9)
    assert int(parts.count.sum()) == int(whole.count)
    assert parts.count[3] == 0
    assert parts.drift.value[3].isnan()


def test_surprise_of_the_true_law_is_its_entropy(paths):
    found = Surprisal.of(fitted(paths, "standard"), paths)
    basis = fitted(paths, "standard").basis
    forward = (MIX * SCALES).double() @ basis.encoder.double()
    entropy = 0.5 * (1 + torch.log(torch.tensor(2 * torch.pi))) * DIM
    truth = (float(entropy) + float(torch.linalg.slogdet(forward)[1])) / DIM
    means = found.mean(found.nats, 400)
    assert abs(float(means.mean()) - truth) < 4 * float(means.std()) / 400**0.5
    assert float(found.state.mean()) == pytest.approx(1, abs=0.1)
