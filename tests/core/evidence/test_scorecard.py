"""Scores by document and position against the laws' own densities."""

from dataclasses import dataclass, replace

import pytest
import torch

from sdelens.estimation.additive import AdditiveMean
from sdelens.evidence.scorecard import pieces, scorecard
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Kernel, Law, Predictive
from sdelens.laws.scale import Scale
from sdelens.paths.trajectories import Trajectories
from sdelens.seeds import generator


def kernel(decay, std, dim=3):
    blank = torch.empty(0, dtype=torch.long)
    still = torch.zeros(1, dim)
    mean = AdditiveMean(decay * torch.eye(dim), torch.zeros(1), still, blank, torch.zeros(0, dim))
    return Kernel(mean, ConstantNoise.independent(torch.full((dim,), std)))


@pytest.fixture(scope="module")
def paths():
    """Six paths of unequal length, the last two of one group."""
    states = torch.randn(6, 12, 3, generator=generator(0))
    mask = torch.arange(12) < torch.tensor([12, 7, 12, 2, 1, 9])[:, None]
    return replace(Trajectories.from_states(states, 1.0), mask=mask)


GROUPS = torch.tensor([0, 1, 2, 3, 4, 4])
EDGES = torch.tensor([3.0, 7.0])


def test_nats_are_the_log_density_of_each_documents_steps(paths):
    law = kernel(0.5, 1.0)
    card = scorecard({"law": law}, paths, GROUPS, EDGES, draws=2, seed=0)
    before, after = paths.states[:, :-1], paths.states[:, 1:]
    nats = -torch.distributions.Normal(0.5 * before, 1.0).log_prob(after).mean(-1)
    nats = nats.masked_fill(~paths.steps, 0).double()
    own = torch.stack([nats[:, :4].sum(1), nats[:, 4:8].sum(1), nats[:, 8:].sum(1)], dim=1)
    own[4] += own[5]
    assert torch.allclose(card.of("nats", "law"), own[:5], rtol=1e-5)
    assert card.count.sum(1).tolist() == [11, 6, 11, 1, 8]
    assert card.count.sum(0).tolist() == [4 + 4 + 4 + 1 + 4, 4 + 2 + 4 + 4, 3 + 3]


def test_how_blocks_are_cut_changes_no_likelihood_and_no_count(paths):
    whole = scorecard({"a": kernel(0.5, 1.0)}, paths, GROUPS, EDGES, draws=2, seed=0)
    cut = list(pieces(paths, numbers=40))
    assert len(cut) > 2
    assert all(piece.steps.any() for piece in cut)
    again = scorecard({"a": kernel(0.5, 1.0)}, cut, GROUPS, EDGES, draws=2, seed=0)
    assert torch.equal(whole.count, again.count)
    assert torch.allclose(whole.of("nats", "a"), again.of("nats", "a"))


def test_a_law_against_itself_leads_by_nothing_and_a_worse_one_trails():
    noise = torch.randn(200, 20, 3, generator=generator(1))
    states = [noise[:, 0] / (1 - 0.25) ** 0.5]
    for step in range(1, 20):
        states.append(0.5 * states[-1] + noise[:, step])
    block = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
    laws = {"true": kernel(0.5, 1.0), "same": kernel(0.5, 1.0), "wide": kernel(0.5, 1.5)}
    card = scorecard(laws, block, torch.arange(200), EDGES, draws=8, seed=0)
    for score in ("nats", "crps", "energy"):
        assert float(card.lead(score, "true", "same").abs().max()) == 0
        lead = card.lead(score, "true", "wide").sum(1)
        assert float(lead.mean()) > 4 * float(lead.std()) / 200**0.5


@dataclass(frozen=True, eq=False)
class Disguised(Predictive):
    """A Gaussian of which only draws are known to be."""

    inner: Predictive

    @property
    def mean(self):
        return self.inner.mean

    def covariance(self) -> Scale:
        return self.inner.covariance()

    def log_density(self, following):
        return self.inner.log_density(following)

    def sample(self, seed):
        return self.inner.sample(seed)


@dataclass(frozen=True, eq=False)
class DisguisedLaw(Law):
    inner: Law

    def predict(self, past):
        return Disguised(self.inner.predict(past))

    def tensors(self):
        return self.inner.tensors()


def test_the_crps_of_draws_agrees_with_the_closed_form():
    block = Trajectories.from_states(torch.randn(400, 10, 2, generator=generator(2)), 1.0)
    law = kernel(0.5, 1.0, dim=2)
    laws = {"form": law, "draws": DisguisedLaw(law)}
    card = scorecard(laws, block, torch.arange(400), EDGES, draws=8, seed=0)
    difference = card.lead("crps", "form", "draws").sum(1)
    assert float(difference.abs().max()) > 0
    assert abs(float(difference.mean())) < 4 * float(difference.std()) / 400**0.5
    assert torch.equal(card.of("nats", "form"), card.of("nats", "draws"))
