import torch
from torch.testing import assert_close

import sdelens
from sdelens.estimation.complement import Complement, fit_complement
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Trajectories


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def states(paths=300, length=30, seed=0):
    """Four readings, with little noise of their own, of two coordinates that turn."""
    turn = torch.tensor([[0.9, 0.3], [-0.3, 0.9]])
    slow = [2 * randn(paths, 2, seed=seed)]
    for step in range(1, length):
        slow.append(slow[-1] @ turn.mT * 0.95 + 0.6 * randn(paths, 2, seed=seed + step))
    readings = torch.linalg.qr(randn(4, 2, seed=5)).Q.mT
    return torch.stack(slow, 1) @ readings + 0.03 * randn(paths, length, 4, seed=seed + 999)


def test_the_likelihood_of_fewer_components_is_that_of_whole_states():
    data = states()
    few, all_ = (
        sdelens.fit(data, probe="linear", basis=basis, noise="full")
        for basis in ("pca:2", "pca:4")
    )
    # what is left out is noise of its own, so that both laws are nearly the true one
    nats = {fitted.basis.latent: fitted.log_prob(states(100, seed=5000)) for fitted in (few, all_)}
    difference = (nats[2] - nats[4]).sum(-1)
    assert abs(float(difference.mean())) < 0.02 * nats[2].shape[1] * 4
    scores = [fitted.record.scores for fitted in (few, all_)]
    gap = scores[0]["held_out_nll_per_dim"] - scores[1]["held_out_nll_per_dim"]
    assert abs(gap) < 0.02
    assert_close(
        few.record.scores["held_out_nll_raw_per_dim"],
        -float(few_mean(few, data)),
        atol=0.05,
        rtol=0,
    )


def few_mean(fitted, data):
    """Nats per dimension of the data at large, the held-out documents among them."""
    return fitted.log_prob(data).mean() / 4


def test_a_conditional_density_is_the_direct_formula():
    block = Trajectories.from_states(states(40, 12), 1.0)
    basis = fit_basis(BasisSpec("pca:2"), block)
    complement = fit_complement(basis, block, block)
    found = complement.log_density(basis, block)
    z = basis.encode(torch.zeros(40, 12), block.states)
    c = basis.encode_left(torch.zeros(40, 12), block.states)
    seen = torch.cat([z[:, 1:], c[:, :-1]], -1)
    mean = (seen @ complement.mean.matrix.mT + complement.mean.by_time)[..., 2:]
    direct = torch.distributions.Normal(mean, complement.std).log_prob(c[:, 1:]).sum(-1)
    assert_close(found, direct, atol=1e-4, rtol=1e-4)


def test_coordinates_kept_and_left_out_give_the_states_back():
    block = Trajectories.from_states(states(40, 12), 1.0)
    basis = fit_basis(BasisSpec("whiten:2"), block)
    t = torch.zeros(40, 12)
    kept, left = basis.encode(t, block.states), basis.encode_left(t, block.states)
    again = basis.decode(t, kept) + left @ basis.left_decoder
    assert_close(again, block.states, atol=1e-4, rtol=1e-4)


def test_nothing_left_out_has_no_complement():
    block = Trajectories.from_states(states(20, 6), 1.0)
    for name in ("standard", "raw", "pca:4"):
        assert fit_complement(fit_basis(BasisSpec(name), block), block, block) is None
    assert Complement.restore({}) is None


def test_gains_do_not_see_the_complement_but_for_the_dimension():
    scores = sdelens.fit(states(), probe="linear", basis="pca:2").record.scores
    row = scores["baselines"]["random_walk"]
    assert_close(row["nll_per_dim"] - scores["fit"]["nll_per_dim"], row["gain_of_fit"])
