"""Dose responses and the sentences about them."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.language.texts import Text
from sdelens.protocols import Analyzer, Site
from sdelens.states.recording import DEPTH
from sdelens.steering.doses import Steering
from sdelens_plugins.analyzers.steering.analyzer import SteeringAnalyzer, common_end
from sdelens_plugins.analyzers.steering.dose_response import (
    CONTROLS,
    FIT,
    METRICS,
    DoseResponse,
    parse_doses,
)
from sdelens_plugins.analyzers.steering.figures import positive
from sdelens_plugins.analyzers.steering.results import comparison, headline
from tests.asked import value
from tests.small import of_tokens
from tests.spoken import spoken_study

QUICK = SteeringAnalyzer(documents=6, prefix=8, tokens=5, branches=3, drift="-0.5,1")
PROMPT = "the cat sat on the mat"


@pytest.fixture(scope="module")
def finding(study):
    return QUICK.analyze(study, seed=0)


def test_it_is_an_analyzer_of_views():
    assert isinstance(QUICK, Analyzer)
    assert QUICK.needs == {"sde", "model"}


def test_every_direction_has_every_dose_of_every_text(finding):
    doses, texts = len(QUICK.doses()), finding.arrays["scores.unsteered"].shape[0]
    assert texts == 6
    for name in (FIT, *CONTROLS):
        scores = finding.arrays[f"scores.{name}"]
        assert scores.shape == (doses, texts, len(METRICS))
        assert scores[..., METRICS.index("first kl")].min() > 0
    assert not finding.arrays["scores.unsteered"][:, METRICS.index("kl")].any()


def test_leads_are_paired_differences_from_the_fit(finding):
    column = METRICS.index("first kl")
    own, other = (finding.arrays[f"scores.{name}"][1, :, column] for name in (FIT, "to the mean"))
    lead = value(finding, "KL, drift +1: lead of the fit over to the mean")
    assert lead.value == pytest.approx(float((own - other).mean()))
    assert lead.stderr == pytest.approx(float((own - other).std() / 6**0.5))
    nats = METRICS.index("nats")
    own, rest = (finding.arrays[f"scores.{name}"][..., nats] for name in (FIT, "unsteered"))
    change = value(finding, "change of nats per token, drift +1")
    assert change.value == pytest.approx(float((own[1] - rest).mean()))


def made(leads):
    """A dose response whose controls are below the fit by known amounts at every dose."""
    steerings = (*parse_doses("-1,1", "drift"), *parse_doses("0", "diffusion"))
    noise = torch.linspace(-0.1, 0.1, 20, dtype=torch.float64)[:, None].expand(-1, len(METRICS))
    own = (2 + noise).expand(len(steerings), -1, -1)
    others = {name: own - lead + noise.flip(0) for name, lead in zip(CONTROLS, leads, strict=True)}
    return DoseResponse(steerings, 1 + noise, {FIT: own, **others})


def test_the_comparison_lists_controls_below_above_and_not_different():
    result = made((1.0, -1.0, 0.0, 1.0))
    assert headline(result).startswith("At no dose does steering by the fit change")
    sentence = comparison(result, Steering(1.0))
    assert "At drift +1 the next-token distribution changes by 2 nats" in sentence
    assert "more than other tokens' drifts (+1.00 [" in sentence
    assert "less than draws from the increments' covariance (-1.00 [" in sentence
    assert "not significantly different from a push to the mean state" in sentence
    assert "12 comparisons" in sentence


def test_the_headline_names_the_doses_that_differ_from_a_push_to_the_mean():
    result = made((0.0,) * 4)
    result.scores["to the mean"][0] -= 1.0
    result.scores["to the mean"][2] += 1.0
    sentence = headline(result)
    assert "more than a push of the same length to the mean state at drift -1 and" in sentence
    assert "less than a push of the same length to the mean state at diffusion 0 (" in sentence
    assert "drift +1" not in sentence


@pytest.mark.parametrize("texts", [1, 9])
def test_few_texts_show_no_difference(texts):
    result = made((1.0,) * 4)
    few = {name: scores[:, :texts] for name, scores in result.scores.items()}
    result = replace(result, unsteered=result.unsteered[:texts], scores=few)
    assert f"is not judged from {texts} test document" in headline(result)
    sentence = comparison(result, Steering(1.0))
    assert "more than" not in sentence
    assert "95%" not in sentence
    assert "nan" not in sentence


def test_simultaneous_intervals_are_wider():
    lead = made((0.0,) * 4).lead(CONTROLS[0], Steering(1.0), "first kl")
    narrow, wide = lead.ends, lead.simultaneous_ends(12)
    assert wide[0] < narrow[0] < lead.value < narrow[1] < wide[1]


def test_a_text_is_continued_at_each_dose_by_the_fit_and_by_an_equally_long_control(study):
    found = QUICK.analyze(replace(study, prompt=PROMPT), seed=0)
    assert found.prompt == PROMPT
    assert {series.prompt for series in found.doses} == {PROMPT}
    drift, diffusion, without = found.doses
    assert [dose.label for dose in drift.doses] == ["drift -0.5", "unsteered", "drift +1"]
    first = [series.doses[series.start].label for series in found.doses]
    assert first == ["drift +1", "diffusion 2", "drift projected out"], "something is to be seen"
    assert [dose.label for dose in without.doses[1:]] == ["drift removed", "drift projected out"]
    strips = [strip for s in found.doses for dose in s.doses for strip in dose.texts]
    assert {len(strip.tokens) for strip in strips} == {QUICK.tokens}
    most = max(value for strip in strips for value in strip.values)
    assert {strip.scale for strip in strips} == {(0.0, most)}, "colours compare by eye"
    assert len({strip.tokens[0] for strip in strips}) == 1, "the first follows the prompt"
    (unsteered,) = (dose for dose in diffusion.doses if dose.label == "unsteered")
    pushed = drift.doses[-1]
    assert unsteered.texts[0].tokens == unsteered.texts[1].tokens
    assert {value for strip in unsteered.texts for value in strip.values} == {0.0}
    own, control = pushed.texts
    assert max(own.values) > 0
    assert own.values != control.values


def test_the_effects_of_a_dose_are_those_of_the_dose_response(finding):
    own, control = finding.doses[0].doses[-1].effects
    column, row = METRICS.index("first kl"), QUICK.doses().index(Steering(1.0))
    for effect, name in ((own, FIT), (control, "to the mean")):
        scores = finding.arrays[f"scores.{name}"][row, :, column]
        assert effect.value == pytest.approx(float(scores.mean()))
        assert effect.stderr == pytest.approx(float(scores.std() / 6**0.5))


def test_a_full_context_is_cut_so_that_words_fit(study, model):
    long = replace(study, prompt=of_tokens(model, model.card.context))
    series = QUICK.analyze(long, seed=0).doses[0]
    assert len(series.doses[0].texts[0].tokens) == QUICK.tokens


@pytest.mark.parametrize("basis", ["pca:4"])
@pytest.mark.parametrize("site", [Site("embed"), Site("block", 2)], ids=str)
def test_any_layer_and_basis_can_be_steered(model, site, basis):
    found = QUICK.analyze(spoken_study(model, site, basis=basis), seed=0)
    assert "6 test documents" in found.headline


def test_error_bars_that_reach_zero_end_at_the_smallest_plotted_value():
    y = torch.tensor([[1.0, 0.1, 0.0]], dtype=torch.float64)
    ends = torch.tensor([[[0.5, 1.5], [-0.2, 0.4], [0.0, 0.0]]], dtype=torch.float64)
    values, bars = positive(y, ends)
    assert values[0, :2].tolist() == pytest.approx([1.0, 0.1])
    assert bars[0, 1].tolist() == pytest.approx([0.1, 0.4])
    assert values[0, 2].isnan()
    assert bars[0, 2].isnan().all()


def test_shares_of_new_tokens_stay_between_zero_and_one(finding):
    for figure in finding.figures:
        if figure.name.startswith("distinct"):
            for layer in (layer for panel in figure.panels for layer in panel.layers):
                shown = layer.values["y"].nan_to_num(0.5)
                assert shown.min() >= 0
                assert shown.max() <= 1


def test_one_seed_gives_one_finding_and_another_another(study, finding):
    before = torch.get_rng_state()
    again, other = (QUICK.analyze(study, seed=seed) for seed in (0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert finding.estimates == again.estimates
    assert finding.estimates != other.estimates


def test_invalid_settings_are_refused(study):
    for name in ("documents", "prefix", "tokens", "branches"):
        with pytest.raises(UsageError, match=f"{name} must be at least"):
            SteeringAnalyzer(**{name: 0})
    with pytest.raises(UsageError, match="drift must be numbers separated by commas"):
        SteeringAnalyzer(drift="much")
    with pytest.raises(UsageError, match="diffusion must be a number from 0 on"):
        SteeringAnalyzer(diffusion="-1,2")
    with pytest.raises(UsageError, match="drift must have a dose that changes something"):
        SteeringAnalyzer(drift="0")
    with pytest.raises(UsageError, match="temperature"):
        SteeringAnalyzer(temperature=-1.0)
    with pytest.raises(UsageError, match="no held-out document has a state at position 30"):
        replace(QUICK, prefix=30).analyze(study, seed=0)
    with pytest.raises(UsageError, match="room for 0 tokens"):
        replace(QUICK, prefix=47).analyze(study, seed=0)
    with pytest.raises(UsageError, match="needs the language model"):
        QUICK.analyze(replace(study, model=None), seed=0)
    deep = replace(study, views={DEPTH: study.single[1]})
    with pytest.raises(UsageError, match="along the depth"):
        QUICK.analyze(deep, seed=0)


def test_answers_to_prompts_of_unequal_length_are_continued_where_most_have_a_state():
    def text(first, last):
        at = torch.arange(first, last + 1)
        return Text("", torch.zeros(last + 1, dtype=torch.long), at, torch.zeros(len(at), 2))

    plain = [text(1, 40), text(1, 9)]
    assert common_end(plain, 8) == 8
    answers = [text(20, 60), text(24, 60), text(30, 36), text(50, 60)]
    assert common_end(answers, 8) == 58, "three answers have eight states before it"
    assert common_end([], 8) == 8
