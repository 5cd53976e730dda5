import pytest
import torch
from torch.testing import assert_close

import sdelens
from sdelens.errors import UsageError
from sdelens.fitting.fitted import log_density
from sdelens.paths.trajectories import Trajectories
from sdelens.testing import discrete_markov
from sdelens_plugins.probes.mixture.probe import MixtureProbe

QUICK = {"width": 32, "components": 4, "least_steps": 400, "epochs": 5, "rate": 4e-3}


def fitted_directly(probe, states, held, seed=0):
    """A law in the states' own coordinates."""
    blocks = (Trajectories.from_states(part, 1.0) for part in (states, held))
    return probe.fit(*blocks, seed=seed, watch=lambda _: None).law


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def fitted():
    """Of a chain whose noise has two peaks."""
    states = discrete_markov().simulate(200, 60, seed=0)
    return sdelens.fit(states, probe=MixtureProbe(**QUICK), seed=0)


def test_a_chain_with_two_peaks_is_fitted_better_than_by_any_gaussian(fitted):
    truth = discrete_markov()
    held = truth.simulate(100, 60, seed=1)
    x, following = held[:, :-1].double(), held[:, 1:].double()
    exact = truth.log_density(x, following)
    # the best Gaussian kernel there is: the true mean and variance
    gaussian = torch.distributions.Normal(truth.memory * x, 1.0).log_prob(following)[..., 0]
    block = next(iter(fitted.basis.view(Trajectories.from_states(held, 1.0))))
    own = log_density(fitted.law, block) - fitted.basis.log_volume()
    gain, lost = (own - gaussian).mean(1), (exact - own).mean(1)
    assert gain.mean() > 4 * gain.std() / 10
    assert lost.mean() < 0.1 * gain.mean()  # a tenth of what there is to gain over a Gaussian


def test_the_scores_show_the_gain_over_linear(fitted):
    linear = fitted.record.scores["baselines"]["linear"]["nll_per_dim"]
    assert fitted.record.scores["held_out_nll_per_dim"] < linear - 0.1


def test_a_law_that_is_no_sde_says_so(fitted):
    with pytest.raises(UsageError, match="not an SDE"):
        _ = fitted.sde


def test_it_starts_at_the_linear_solution():
    states = 0.5 * randn(60, 30, 4).cumsum(1)
    start = MixtureProbe(components=3, width=8, least_steps=1, epochs=1, rate=1e-12)
    law = fitted_directly(start, states[:50], states[50:])
    block = Trajectories.from_states(states[50:], 1.0)
    shift = law.predict(block).mean - law.linear(
        block.times.expand(10, 30), block.states, block.tokens
    )
    # the mixture of the residuals has their mean, which is 0: .5 / sqrt(1450) is its error
    assert shift.abs().max() < 4 * 0.5 / 1450**0.5
    spread = law.predict(block).covariance().variance().sqrt()
    assert_close(spread, law.emission.spread.expand_as(spread), rtol=0.05, atol=0)


def test_near_atoms_gain_without_bound_as_the_floor_falls():
    # three exact values: the log density grows by log(10) / 2 as the floor of the variance falls
    # tenfold, less what the linear mean's own error blurs; short paths, for few intercepts
    random = torch.Generator().manual_seed(0)
    states = torch.randint(3, (3300, 3, 1), generator=random).float()
    law = fitted_directly(MixtureProbe(**QUICK), states[:3000], states[3000:])
    block = Trajectories.from_states(states[3000:], 1.0)
    one, lower = (log_density(each, block).mean() for each in (law, law.variants["lower floor"]))
    assert 0.6 < float(lower - one) < 1.2
    variance = states[:3000, :-1].var()
    for each, share in ((law, 0.01), (law.variants["lower floor"], 0.001)):
        stds = torch.stack([part.scale.std for part in each.predict(block).components])
        assert stds.min() >= 0.999 * (share * variance).sqrt()
        assert stds.min() < 1.5 * (share * variance).sqrt()


def test_floors_do_not_matter_where_the_noise_is_smooth(fitted):
    held = discrete_markov().simulate(100, 60, seed=1)
    block = next(iter(fitted.basis.view(Trajectories.from_states(held, 1.0))))
    one, lower = (
        log_density(law, block).mean() for law in (fitted.law, fitted.law.variants["lower floor"])
    )
    assert abs(float(lower - one)) < 0.01


def test_two_fits_have_the_same_bytes_and_restore_the_same_law():
    states, state = randn(40, 20, 2), torch.random.get_rng_state()
    probe = MixtureProbe(components=3, width=8, least_steps=10, epochs=1)
    one, other = (fitted_directly(probe, states[:30], states[30:], seed=7) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(t, other.tensors()[n]) for n, t in one.tensors().items())
    assert not any(t.requires_grad for t in one.tensors().values())
    again, block = probe.restore({"dt": 1.0}, one.tensors()), Trajectories.from_states(states, 1.0)
    for name, law in {"": one, **one.variants}.items():
        restored = again.variants[name] if name else again
        assert torch.equal(log_density(law, block), log_density(restored, block))
    assert not torch.equal(
        fitted_directly(probe, states[:30], states[30:], seed=8).tensors()[
            "emission.network.weight0"
        ],
        one.tensors()["emission.network.weight0"],
    )


@pytest.mark.parametrize(
    "wrong", [{"components": 0}, {"floor": 0.0}, {"floor": 0.001, "lower_floor": 0.01}]
)
def test_settings_that_cannot_be_are_an_error(wrong):
    with pytest.raises(UsageError):
        MixtureProbe(**wrong)
