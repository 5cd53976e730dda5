import pytest
import torch

import sdelens
from sdelens.evidence.verdict import Gain, verdict
from sdelens.fitting.fit import fit_view
from sdelens.paths.split import split
from sdelens.paths.trajectories import Trajectories


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def judged(block, probe_name="neural", **settings):
    """The verdict on a fit with both noises, as the command line makes it."""
    from sdelens.interfaces import load

    probe = load("probe", probe_name)(**settings)
    documents = block.document.tolist()
    fitted = fit_view(
        block,
        split(documents, seed=0),
        {d: d for d in documents},
        probe,
        kind=probe_name,
        state_dependent=True,
    )
    return verdict(fitted.record.scores, probe_name, "discrete"), fitted.record.scores


QUICK = {"width": 32, "epochs": 8, "least_steps": 200}


def test_independent_states_are_not_described_better_by_an_sde():
    sentences, _ = judged(Trajectories.from_states(randn(120, 30, 2), 1.0), **QUICK)
    # how bad it is depends on how much the networks overfit
    assert "poor description" in sentences[0] or "no clear evidence" in sentences[0]
    assert "i.i.d." in sentences[0]


def test_states_that_follow_from_the_token_alone_are_poorly_described():
    random = torch.Generator().manual_seed(0)
    tokens = torch.randint(20, (120, 31), generator=random)
    table = randn(20, 3, seed=1)
    # the next state is the token's row, and this state says nothing about the token
    states = torch.cat([randn(120, 1, 3), table[tokens[:, :-1]]], 1) + 0.3 * randn(120, 31, 3)
    block = Trajectories.from_states(states, 1.0)
    block = Trajectories(block.states, block.mask, block.times, tokens, block.document)
    sentences, scores = judged(block, **QUICK)
    assert "poor description" in sentences[0]
    assert "token" in sentences[0].partition("does not beat")[2]
    assert scores["baselines"]["token"]["gain_of_fit"] < 0


def test_a_double_well_is_praised_with_its_interval():
    x = randn(160, 2) * 0.5
    states = [x]
    for step in range(39):
        x = x + 0.25 * (x - x**3) * 2 + 0.35 * randn(160, 2, seed=step + 1)
        states.append(x)
    sentences, scores = judged(Trajectories.from_states(torch.stack(states, 1), 1.0), **QUICK)
    assert "beats every simpler law on 16 held-out documents" in sentences[0]
    assert "[" in sentences[0]
    assert scores["baselines"]["linear"]["gain_of_fit"] > 0


def test_a_token_kernel_claims_no_diffusion_and_a_continuous_density_says_which():
    states = randn(60, 20, 1).cumsum(1)
    scores = sdelens.fit(states, dt=0.1, probe="linear", density="discrete").record.scores
    assert "No continuous-time diffusion is claimed" in verdict(scores, "linear", "discrete")[-1]
    assert "euler" in verdict(scores, "neural", "euler")[-1]


def scored(gains, *, groups=20, dropped=0):
    """Scores of a fit with constant noise, whose gains have these values and errors."""
    rows = {
        name: {"gain_of_fit": gain, "gain_of_fit_stderr": error, "increment_r2": 0.4}
        for name, (gain, error) in gains.items()
    }
    return {
        "baselines": rows,
        "fit": {"increment_r2": 0.5},
        "noise_column": "constant",
        "held_out_documents": groups,
        "transitions": 1234,
        "dropped_prefix_in_training": dropped,
    }


def test_the_verdict_names_the_best_rival_and_the_sample():
    gains = {"iid_position": (0.3, 0.01), "token": (0.1, 0.01), "linear_token": (0.05, 0.01)}
    sentences = verdict(scored(gains, dropped=7), "linear", "discrete")
    assert "token, by 0.100 [0.079, 0.121]" in sentences[0]
    assert "20 held-out documents (1,234 transitions)" in sentences[0]
    assert "constant noise" in sentences[0]
    assert any("7 held-out transitions" in sentence for sentence in sentences)
    assert 3 <= len(sentences) <= 5


def test_a_worse_fit_is_distinguished_from_an_uncertain_one():
    unclear = verdict(scored({"iid": (0.3, 0.01), "token": (-0.01, 0.01)}), "linear", "discrete")
    assert "poor description" not in unclear[0]
    assert "no clear evidence" in unclear[0]
    assert "token" in unclear[0]
    assert "i.i.d." not in unclear[0]
    worse = verdict(scored({"iid": (0.3, 0.01), "token": (-0.1, 0.01)}), "linear", "discrete")
    assert "poor description" in worse[0]


def test_an_uncertain_rival_of_a_larger_gain_is_not_beaten():
    gains = {"linear": (0.02, 0.005), "random_walk": (0.05, 0.09)}
    said = verdict(scored(gains), "neural", "discrete")[0]
    assert "does not clearly beat: random walk;" in said
    assert "over random walk is 0.050" in said


@pytest.mark.parametrize("groups", [0, 1, 2, 9])
def test_from_fewer_than_ten_documents_no_conclusion_is_drawn(groups):
    sentences = verdict(scored({"iid": (0.3, 0.0)}, groups=groups), "linear", "discrete")
    assert "No conclusion is drawn" in sentences[0]
    assert len(sentences) == 2
    assert not any("95%" in sentence for sentence in sentences)


def test_from_ten_documents_a_conclusion_is_drawn():
    sentences = verdict(scored({"iid": (0.3, 0.01)}, groups=10), "linear", "discrete")
    assert "beats every simpler law on 10 held-out documents" in sentences[0]


def test_a_recorded_interval_replaces_students():
    row = {"gain": 1.0, "gain_stderr": 0.45}
    assert Gain.of(row, "gain", 100).shown
    assert not Gain.of(row | {"gain_interval": [-0.1, 2.4]}, "gain", 100).shown
    assert str(Gain(1.0, 0.5, 1.5)) == "1.000 [0.500, 1.500]"
