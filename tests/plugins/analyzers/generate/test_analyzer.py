"""Continuations of prompts, where they are known."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens_plugins.analyzers.generate.analyzer import GenerateAnalyzer
from sdelens_plugins.analyzers.generate.continuations import OWN, SAMPLED
from sdelens_plugins.analyzers.generate.text_metrics import METRICS, reference_scores, text_scores
from tests.asked import value
from tests.small import of_tokens
from tests.spoken import spoken_study

QUICK = GenerateAnalyzer(tokens=6, paths=2, documents=3, prefix=6)
PROMPT = "the cat sat on the mat"


def resting(study):
    """The same study under a law that stays where it is."""
    view, viewed = study.single
    latent = viewed.fitted.basis.latent
    blank, zeros = torch.empty(0, dtype=torch.long), torch.zeros(1, latent)
    mean = AdditiveMean(torch.eye(latent), torch.zeros(1), zeros, blank, zeros[:0])
    law = KernelSDE(mean, ConstantNoise.independent(torch.full((latent,), 1e-6)))
    fitted = replace(viewed.fitted, law=law)
    return replace(study, views={view: replace(viewed, fitted=fitted)})


def test_it_is_an_analyzer_of_views():
    assert isinstance(QUICK, Analyzer)
    assert QUICK.needs == {"sde", "model"}


def test_the_first_word_from_the_last_state_is_the_models_own(study):
    finding = QUICK.analyze(replace(study, prompt=PROMPT), seed=0)
    own = finding.arrays[f"words.{OWN}"][0, 0]
    for process in ("the fit", "random walk", "i.i.d. per position"):
        assert (finding.arrays[f"words.{process}, network"][:, 0] == own).all()


def test_paths_start_at_the_last_state_or_at_the_mean(study, model):
    ids = torch.tensor([[0, *model.encode(PROMPT)]])
    states = model.run(ids, read=[Site("block", 1)]).reads[Site("block", 1)][0, 1:]
    for start, expected in {"last": states[-1], "mean": states.mean(0)}.items():
        finding = replace(QUICK, start=start).analyze(replace(study, prompt=PROMPT), seed=0)
        first = finding.arrays["states.the fit"][:, 0]
        assert torch.allclose(first, expected.expand_as(first), atol=1e-5)


def test_a_process_that_rests_is_decoded_as_its_state_at_each_position(study, model):
    finding = QUICK.analyze(replace(resting(study), prompt=PROMPT), seed=0)
    ids = torch.tensor([[0, *model.encode(PROMPT)]])
    states = model.run(ids, read=[Site("block", 1)]).reads[Site("block", 1)]

    def edit(state):
        return torch.cat([state[:, : ids.shape[1] - 1], states[:, -1:].expand(-1, 6, -1)], dim=1)

    longer = torch.nn.functional.pad(ids, (0, 5))
    law = model.run(longer, edit={Site("block", 1): edit}, logits=True).logits
    expected = law[0, -6:].argmax(-1)
    assert torch.equal(finding.arrays["words.the fit, network"][0], expected)
    nearest = finding.arrays["words.the fit, nearest"]
    assert (nearest == nearest[0, 0]).all(), "one state has one nearest"


def test_scores_of_the_same_text_are_perfect_and_of_another_are_not():
    assert reference_scores("a cat sat on the mat", "a cat sat on the mat") == pytest.approx(
        (1, 1, 1)
    )
    bleu, one, whole = reference_scores("the dog is on a mat now", "a cat sat on the mat")
    # shared are the, on, a and mat, of seven words and of six; in order only two of them
    assert one == pytest.approx(2 * 4 / (7 + 6))
    assert whole == pytest.approx(2 * 2 / (7 + 6))
    assert 0 < bleu < 0.5


def test_means_of_scores_are_over_paths():
    words = torch.tensor([[1, 2, 3, 4], [1, 1, 1, 1]])
    surprise = torch.tensor([[1.0, 1, 1, 1], [3, 3, 3, 3]])
    found = text_scores(lambda ids: [f" w{i}" for i in ids], words, surprise, words[0])
    named = dict(zip(METRICS, found.tolist(), strict=True))
    assert named["nats"] == 2
    assert named["distinct1"] == pytest.approx((1 + 0.25) / 2)
    assert named["distinct2"] == pytest.approx((1 + 1 / 3) / 2)
    # of the second only one of four words is in the first
    assert named["rouge1"] == pytest.approx((1 + 0.25) / 2)


def test_the_models_likeliest_words_are_its_least_surprising(study):
    finding = QUICK.analyze(study, seed=0)
    own = value(finding, f"nats of {OWN}")
    assert own.value < value(finding, f"nats of {SAMPLED}").value
    assert own.value < value(finding, "nats of the fit").value
    perplexity = value(finding, f"perplexity of {OWN}")
    assert float(torch.tensor(perplexity.value).log()) == pytest.approx(own.value, rel=1e-4)


def test_leads_are_differences_of_scores_and_less_surprise_is_more(study):
    finding = QUICK.analyze(study, seed=0)
    for label in ("nats", "bleu", "rougeL"):
        lead = value(finding, f"lead of the fit in {label} over random walk, network")
        sign = -1 if label == "nats" else 1
        fit, walk = (
            value(finding, f"{label} of {name}").value for name in ("the fit", "random walk")
        )
        assert lead.value == pytest.approx(sign * (fit - walk), abs=1e-9)


@pytest.mark.parametrize("basis", ["standard", "pca:4"])
@pytest.mark.parametrize("site", [Site("embed"), Site("block", 2)], ids=str)
def test_any_layer_and_basis_goes_on_from_a_short_prompt(model, site, basis):
    study = spoken_study(model, site, basis=basis, prompt="the cat")
    finding = QUICK.analyze(study, seed=0)
    assert "After “the cat” the fit continues" in finding.headline
    assert ("leaves 12 directions out" in finding.reading) == (basis == "pca:4")
    assert len(finding.strips) == 8
    assert {len(strip.tokens) for strip in finding.strips} == {6}
    assert not any("\n" in token for strip in finding.strips for token in strip.tokens)


def test_without_a_prompt_it_continues_the_papers_question(study):
    finding = replace(QUICK, documents=0).analyze(study, seed=0)
    assert finding.prompt is None
    assert "What is the capital of France?" in finding.headline
    assert all(e.stderr is None for e in finding.estimates)


def test_a_full_context_is_cut_so_that_words_fit(study, model):
    long = replace(study, prompt=of_tokens(model, model.card.context))
    finding = replace(QUICK, documents=0).analyze(long, seed=0)
    assert len(finding.arrays["prompt.tokens"]) == model.card.context - QUICK.tokens
    assert f"the first {model.card.context - QUICK.tokens} are read" in finding.reading
    assert len(finding.strips[0].tokens) == QUICK.tokens


def test_more_words_than_fit_are_as_many_as_do(study, model):
    asked = replace(QUICK, tokens=500, documents=0)
    finding = asked.analyze(replace(study, prompt=PROMPT), seed=0)
    ids = finding.arrays["prompt.tokens"]
    assert len(finding.strips[0].tokens) == model.card.context - len(ids)
    assert "are read" not in finding.reading


def test_it_depends_on_its_seed_alone_and_is_saved_whole(study, tmp_path):
    before = torch.get_rng_state()
    first, again, other = (QUICK.analyze(study, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert first.estimates == again.estimates
    assert not torch.equal(first.arrays["states.the fit"], other.arrays["states.the fit"])
    save_finding(first, tmp_path / "f")
    assert load_finding(tmp_path / "f").strips == first.strips


def test_what_cannot_be_is_refused(study):
    with pytest.raises(UsageError, match="last or mean"):
        GenerateAnalyzer(start="first")
    with pytest.raises(UsageError, match="at least 1"):
        GenerateAnalyzer(tokens=0)
    with pytest.raises(UsageError, match="needs the language model of the run"):
        QUICK.analyze(replace(study, model=None), seed=0)
