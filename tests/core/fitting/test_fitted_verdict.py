"""`fitted.verdict(states)`: the kind of process that plain arrays support."""

from dataclasses import replace

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.evidence.process_class import CANNOT_TELL, DISCRETE_NON_GAUSSIAN, NON_MARKOV
from sdelens.laws.law import Gaussian, Law
from sdelens.laws.scale import DiagonalScale
from sdelens.seeds import generator
from sdelens.testing import discrete_markov


class Copy(Law):
    """A law of the next state that is no SDE."""

    def predict(self, past):
        return Gaussian(past.states, DiagonalScale(torch.ones_like(past.states)))

    def tensors(self):
        return {}


@pytest.fixture(scope="module")
def peaks():
    """Paths whose noise has two peaks, and a linear fit to them."""
    states = discrete_markov().simulate(800, 40, seed=0)
    return states, sdelens.fit(states, probe="linear")


def test_the_class_is_told_with_its_evidence_and_in_sentences(peaks):
    states, fitted = peaks
    verdict = fitted.verdict(states)
    assert verdict.process_class == DISCRETE_NON_GAUSSIAN
    assert verdict.evidence.mixture.shown
    assert verdict.sentences[0].startswith("Discrete, non-Gaussian Markov: mixture over Gaussian")
    assert "Ruled out: Gaussian noise" in verdict.sentences[1]
    assert str(verdict).splitlines() == list(verdict.sentences)


@pytest.mark.parametrize("both", [True, False])
def test_the_scores_are_told_with_the_column_of_state_dependent_noise_if_asked(both):
    states = discrete_markov().simulate(20, 10, seed=3)
    fitted = sdelens.fit(states, probe="heteroscedastic-linear", state_dependent=both)
    assert ("gain_of_fit_state_dependent" in fitted.record.scores["baselines"]["iid"]) == both
    assert fitted.record.scores["noise_column"] == ("state-dependent" if both else "constant")


def test_other_states_of_the_process_get_the_same_class_and_of_another_their_own(peaks):
    _, fitted = peaks
    fresh = discrete_markov().simulate(800, 40, seed=1)
    assert fitted.verdict(fresh).process_class == DISCRETE_NON_GAUSSIAN
    kicks = torch.randn(800, 40, 1, generator=generator(2))
    assert (
        fitted.verdict(kicks + 2 * kicks.roll(1, 1) + kicks.roll(2, 1)).process_class == NON_MARKOV
    )


def test_paths_may_have_any_length(peaks):
    states, fitted = peaks
    paths = [path[: 40 - number % 7] for number, path in enumerate(states)]
    assert fitted.verdict(paths).process_class == DISCRETE_NON_GAUSSIAN


def test_few_paths_decide_nothing(peaks):
    states, _ = peaks
    few = sdelens.fit(states[:40], probe="linear")
    verdict = few.verdict(states[:40])
    assert verdict.process_class == CANNOT_TELL
    assert (
        verdict.sentences[0]
        == "Cannot tell: a class needs 10 held-out documents, but there are 4."
    )


def test_a_law_that_is_no_sde_has_no_verdict(peaks):
    states, fitted = peaks
    with pytest.raises(UsageError, match="not an SDE"):
        replace(fitted, law=Copy()).verdict(states)
