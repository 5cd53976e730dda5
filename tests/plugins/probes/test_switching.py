import math

import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import UnknownName, UsageError
from sdelens.fitting.fitted import log_density
from sdelens.paths.trajectories import Trajectories
from sdelens.testing import discrete_markov
from sdelens_plugins.probes.switching import SwitchingProbe

MATRICES = torch.tensor([[[0.9, 0.3], [-0.3, 0.9]], [[0.2, 0.0], [0.5, -0.6]]])
OFFSETS = torch.tensor([[0.0, 0.2], [0.5, -0.5]])
STDS = torch.tensor([[0.3, 0.2], [0.4, 0.6]])
MOVES = torch.tensor([[0.95, 0.05], [0.1, 0.9]])


def switching(paths=120, length=80, seed=0):
    """States and regimes of a system of two."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(paths, 2, generator=random)
    z = torch.randint(2, (paths,), generator=random)
    states, regimes = [], []
    for _ in range(length + 30):
        states.append(x)
        regimes.append(z)
        noise = STDS[z] * torch.randn(paths, 2, generator=random)
        x = torch.einsum("pij,pj->pi", MATRICES[z], x) + OFFSETS[z] + noise
        z = torch.multinomial(MOVES[z], 1, generator=random)[:, 0]
    return torch.stack(states[30:], 1), torch.stack(regimes[30:], 1)


@pytest.fixture(scope="module")
def system():
    return switching()


@pytest.fixture(scope="module")
def law(system):
    block = Trajectories.from_states(system[0], 1.0)
    probe = SwitchingProbe(regimes=2, passes=60, tolerance=1e-7)
    return probe.fit(block, block, seed=0, watch=lambda _: None).law


def ordered(law):
    """The fitted regimes in the order of the true ones."""
    return law.matrices[:, 0, 0].argsort(descending=True)


def test_the_regimes_matrices_and_noises_are_recovered(system, law):
    states, regimes = system
    order = ordered(law)
    for k, fitted in enumerate(order):
        x = states[:, :-1][regimes[:, :-1] == k].double()
        gram = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        # the error if the regimes were known, times 1.5: where both fit, they are not
        spread = torch.linalg.inv(gram.mT @ gram).diagonal()[:2].sqrt()
        error = 1.5 * STDS[k][:, None] * spread
        assert ((law.matrices[fitted] - MATRICES[k]).abs() < 4 * error).all()
        std = law.regimes.variance[fitted].sqrt()
        assert ((std / STDS[k] - 1).abs() < 4 * 1.5 / math.sqrt(2 * len(x))).all()
    moves = law.regimes.chain.moves.exp()[order][:, order]
    counts = torch.tensor([(regimes[:, :-2] == k).sum() for k in range(2)])[:, None]
    error = 1.5 * (MOVES * (1 - MOVES) / counts).sqrt()
    assert ((moves - MOVES).abs() < 4 * error).all()


def test_the_filter_finds_the_regime(system, law):
    states, regimes = switching(paths=40, seed=1)
    weights = law.predict(Trajectories.from_states(states, 1.0)).log_weights.exp()
    truth = weights[..., ordered(law)].gather(-1, regimes[..., None])[:, 20:, 0]
    # what is given to an event must be its frequency: E[w(z)] = E[sum w^2] for a calibrated w
    gap = truth - weights[:, 20:].square().sum(-1)
    assert gap.mean().abs() < 4 * gap.mean(1).std() / math.sqrt(40)
    assert truth.mean() > 0.75  # the stationary probabilities alone would give 5/9


def test_a_prediction_does_not_see_later_states(system, law):
    block = Trajectories.from_states(system[0][:5, :20], 1.0)
    changed = block.states.clone()
    changed[:, 12:] += 1
    one, other = law.predict(block), law.predict(Trajectories.from_states(changed, 1.0))
    # equal up to rounding, which depends on the values that share a vector register
    assert_close(one.mean[:, :12], other.mean[:, :12], rtol=0, atol=1e-5)
    assert_close(one.log_weights[:, :12], other.log_weights[:, :12], rtol=0, atol=1e-5)


def test_what_a_mask_hides_changes_nothing(system, law):
    block = Trajectories.from_states(system[0][:5, :20], 1.0)
    mask = block.mask.clone()
    mask[:, 12:] = False
    hidden = block.states.where(mask[..., None], torch.nan)
    padded = Trajectories(hidden, mask, block.times, block.tokens, block.document)
    whole = log_density(law, block)[:, :11]
    assert torch.equal(log_density(law, padded)[:, :11], whole)


def test_the_number_of_regimes_is_chosen_on_validation(system):
    fitted = sdelens.fit(system[0], probe=SwitchingProbe(), seed=0)
    assert len(fitted.law.matrices) == 2
    baseline = fitted.record.scores["baselines"]["linear"]
    assert fitted.record.scores["held_out_nll_per_dim"] < baseline["nll_per_dim"] - 0.1
    with pytest.raises(UsageError, match="not an SDE"):
        _ = fitted.sde


def test_one_regime_is_the_linear_probe(system):
    states = system[0][:40, :30]
    one = sdelens.fit(states, probe=SwitchingProbe(regimes=1), seed=0).record.scores
    linear = sdelens.fit(states, probe="linear", seed=0).record.scores
    assert abs(one["held_out_nll_per_dim"] - linear["held_out_nll_per_dim"]) < 1e-3


def test_regimes_that_change_at_every_step_are_found():
    truth = discrete_markov()
    fitted = sdelens.fit(truth.simulate(200, 60, seed=0), probe=SwitchingProbe(regimes=2), seed=0)
    held = truth.simulate(100, 60, seed=1)
    exact = truth.log_density(held[:, :-1], held[:, 1:])
    block = next(iter(fitted.basis.view(Trajectories.from_states(held, 1.0))))
    lost = exact - (log_density(fitted.law, block) - fitted.basis.log_volume())
    # 2 x 3 regression numbers and the chain: some 9 parameters over twice 9,440 transitions
    assert lost.mean() < 9 / (2 * 160 * 59) + 4 * lost.mean(1).std() / 10


def test_the_variance_never_falls_below_its_floor():
    states = discrete_markov(peak=1.0, width=1e-4).simulate(60, 40, seed=0)
    block = Trajectories.from_states(states, 1.0)
    probe = SwitchingProbe(regimes=2, floor=0.01)
    law = probe.fit(block, block, seed=0, watch=lambda _: None).law
    linear = SwitchingProbe(regimes=1).fit(block, block, seed=0, watch=lambda _: None).law
    assert_close(
        law.regimes.variance.min(), 0.01 * linear.regimes.variance.min(), rtol=0.02, atol=0
    )


@pytest.mark.parametrize("noise", ["diagonal", "correlated:1"])
def test_two_fits_have_the_same_bytes_and_restore_the_same_law(system, noise):
    block = Trajectories.from_states(system[0][:40, :30], 1.0)
    train, held = block.rows(torch.arange(30)), block.rows(torch.arange(30, 40))
    probe, state = SwitchingProbe(regimes=3, noise=noise, passes=5), torch.random.get_rng_state()
    one, other = (probe.fit(train, held, seed=7, watch=lambda _: None).law for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(t, other.tensors()[n]) for n, t in one.tensors().items())
    again = probe.restore({"dt": 1.0}, one.tensors())
    assert torch.equal(log_density(one, held), log_density(again, held))
    assert all(t.dtype != torch.float64 for n, t in one.tensors().items())


def test_correlated_noise_is_found_where_there_is_some(system):
    shared = torch.randn(120, 40, 1, generator=torch.Generator().manual_seed(3))
    own = 0.3 * torch.randn(120, 40, 3, generator=torch.Generator().manual_seed(4))
    states = shared * torch.tensor([1.0, -1.0, 0.5]) + own
    fits = {
        noise: sdelens.fit(states, probe=SwitchingProbe(regimes=1, noise=noise))
        for noise in ("diagonal", "correlated:1")
    }
    nll = {name: fit.record.scores["held_out_nll_per_dim"] for name, fit in fits.items()}
    covariance = own.new_tensor([1.0, -1.0, 0.5])[:, None] * own.new_tensor([1.0, -1.0, 0.5])
    covariance = covariance + 0.09 * torch.eye(3)
    gain = 0.5 * (covariance.diagonal().log().sum() - covariance.logdet()) / 3
    assert_close(nll["diagonal"] - nll["correlated:1"], float(gain), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    "wrong", [{"regimes": 0}, {"noise": "round"}, {"floor": 0.0}, {"ridge": -1.0}]
)
def test_settings_that_cannot_be_are_an_error(wrong):
    with pytest.raises(UnknownName if "noise" in wrong else UsageError):
        SwitchingProbe(**wrong)
