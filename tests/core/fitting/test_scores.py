import pytest
import torch

import sdelens
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import log_density
from sdelens.fitting.scores import Tally, sink_norm, survivors, tally
from sdelens.laws.law import Kernel, Mean
from sdelens.paths.basis import BasisSpec, fit_basis
from sdelens.paths.trajectories import Trajectories


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Shrinking(Mean):
    """E[X'|x] = a x."""

    def __init__(self, a):
        self.a = a

    def __call__(self, t, x, token):
        return self.a * x

    def tensors(self):
        return {}


def law(a, std=1.0, dim=2):
    return Kernel(Shrinking(a), ConstantNoise.independent(torch.full((dim,), std)))


def walks(paths=60, length=12, dim=2, seed=0):
    """An autoregression whose level differs from path to path, so that groups matter."""
    noise = randn(paths, length, dim, seed=seed) + 0.7 * randn(paths, 1, dim, seed=seed + 1)
    states = [noise[:, 0]]
    for step in range(1, length):
        states.append(0.8 * states[-1] + noise[:, step])
    return Trajectories.from_states(torch.stack(states, 1), 1.0)


@pytest.fixture(scope="module")
def scored():
    block = walks()
    basis = fit_basis(BasisSpec("raw"), block)
    laws = {"good": law(0.8), "walk": law(1.0)}
    every = tally(laws, basis, block, {d: d // 2 for d in range(60)})["every"]
    return block, basis, laws, every


def test_scores_are_means_over_all_transitions_of_what_the_laws_say(scored):
    block, basis, laws, every = scored
    latent = next(iter(basis.view(block)))
    nats = -log_density(laws["good"], latent)
    assert every.transitions == 60 * 11
    assert every.groups == 30
    assert every.nll("good").value == pytest.approx(float(nats.mean()) / 2, rel=1e-5)
    motion = latent.states.diff(dim=1).square().sum()
    lost = (latent.states[:, 1:] - 0.8 * latent.states[:, :-1]).square().sum()
    assert every.increment_r2("good").value == pytest.approx(1 - float(lost / motion), rel=1e-4)
    assert every.increment_r2("walk").value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("what", ["nll", "gain", "increment_r2"])
def test_standard_errors_are_those_of_a_bootstrap_over_groups(scored, what):
    every = scored[3]

    def value(tally_):
        arguments = ("good", "walk") if what == "gain" else ("good",)
        return getattr(tally_, what)(*arguments)

    random = torch.Generator().manual_seed(1)
    draws = 800
    values = []
    for _ in range(draws):
        chosen = torch.randint(30, (30,), generator=random)
        resampled = Tally(
            every.names,
            every.dim,
            every.nats[:, chosen],
            every.squares[:, chosen],
            every.motion[chosen],
            every.count[chosen],
        )
        values.append(value(resampled).value)
    spread = float(torch.tensor(values).std())
    # a bootstrap's own error is 1/sqrt(2*800) = 2.5%; it is sqrt(29/30) too small
    assert value(every).stderr == pytest.approx(spread, rel=0.12)


def test_a_gain_is_paired_and_surer_than_the_difference_of_two_scores(scored):
    every = scored[3]
    good, walk = every.nll("good"), every.nll("walk")
    gain = every.gain("good", "walk")
    assert gain.value == pytest.approx(walk.value - good.value, rel=1e-6)
    assert every.gain("walk", "good").value == pytest.approx(-gain.value)
    assert gain.stderr < (good.stderr**2 + walk.stderr**2) ** 0.5


def test_transitions_with_a_sink_at_either_end_are_set_apart():
    block = walks()
    states = block.states.clone()
    states[3, 5] *= 1000
    block = Trajectories(states, block.mask, block.times, block.tokens, block.document)
    fence = sink_norm(walks(seed=5))
    assert float(states[3, 5].norm()) > fence > float(walks().states.norm(dim=-1).median())
    basis = fit_basis(BasisSpec("raw"), walks())
    found = tally({"good": law(0.8)}, basis, block, {d: d for d in range(60)}, sink=fence)
    every, clean = found["every"], found["clean"]
    assert every.transitions - clean.transitions >= 2
    assert clean.nll("good").value < every.nll("good").value / 10


def test_a_masked_transition_is_not_scored():
    block = walks()
    mask = block.mask.clone()
    mask[:30, 6:] = False
    masked = Trajectories(block.states, mask, block.times, block.tokens, block.document)
    basis = fit_basis(BasisSpec("raw"), block)
    every = tally({"good": law(0.8)}, basis, masked, {d: d for d in range(60)})["every"]
    assert every.transitions == 30 * 11 + 30 * 5


def test_new_prefixes_are_scored_apart_and_predicted_from_the_whole_path():
    block, basis = walks(), fit_basis(BasisSpec("raw"), walks())
    groups = {d: d for d in range(60)}
    mask = block.mask.clone()
    mask[:30, :6] = False
    new = Trajectories(block.states, mask, block.times, block.tokens, block.document)
    found = tally({"good": law(0.8)}, basis, block, groups, new=new)
    alone = tally({"good": law(0.8)}, basis, new, groups)["every"]
    assert found["every"].transitions == 60 * 11
    assert found["new"].transitions == alone.transitions == 30 * 11 + 30 * 5
    assert found["new"].nll("good").value == pytest.approx(alone.nll("good").value)


def test_two_laws_are_the_same_if_every_document_scores_them_alike():
    block, basis = walks(), fit_basis(BasisSpec("raw"), walks())
    laws = {"fit": law(0.8), "copy": law(0.8), "near": law(0.8001), "walk": law(1.0)}
    every = tally(laws, basis, block, {d: d for d in range(60)})["every"]
    assert every.same("fit", "copy")
    assert not every.same("fit", "near")
    assert not every.same("fit", "walk")


def test_survivors_counts_documents_at_each_position():
    assert survivors(torch.tensor([3, 1, 2])) == [3, 2, 1]


@pytest.mark.parametrize("basis", ["standard", "whiten:3"])
def test_the_gain_over_iid_states_does_not_depend_on_the_basis(basis):
    mixing = torch.tensor([[1.0, 0.5, 0.0], [0.0, 2.0, 0.3], [0.4, 0.0, 0.7]])
    block = walks(paths=200, length=20, dim=3)
    states = block.states @ mixing + 5
    # full-rank noise: a diagonal one is not closed under a change of basis
    settings = {"probe": "linear", "noise": "correlated:2", "seed": 0}
    raw = sdelens.fit(states, basis="raw", **settings).record.scores
    other = sdelens.fit(states, basis=basis, **settings).record.scores
    # two factors and three unique variances hold any 3x3 covariance only nearly
    assert other["gain_over_iid_position"] == pytest.approx(
        raw["gain_over_iid_position"], abs=0.2 * raw["gain_over_iid_position_stderr"] + 0.003
    )
    assert other["held_out_nll_raw_per_dim"] == pytest.approx(
        raw["held_out_nll_raw_per_dim"], abs=0.01
    )
