"""What decomposition and transition_law say of a chain that is known, and of a small model."""

import math
from dataclasses import replace

import pytest
import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.next_state_law import NoiseComparison
from sdelens.branching.token_choice import TokenChoice
from sdelens.errors import UsageError
from sdelens.evidence.bootstrap import Bootstrap
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.recording import DEPTH
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.common.held_out_prefixes import HeldOutPrefixes
from sdelens_plugins.analyzers.decomposition.analyzer import DecompositionAnalyzer
from sdelens_plugins.analyzers.decomposition.measurement import measure
from sdelens_plugins.analyzers.decomposition.predictors import LargerProbe, Predictors
from sdelens_plugins.analyzers.decomposition.results import DecompositionResults
from sdelens_plugins.analyzers.decomposition.shares import Decomposition
from sdelens_plugins.analyzers.transition_law.analyzer import TransitionLawAnalyzer
from sdelens_plugins.analyzers.transition_law.trace_agreement import TraceAgreement
from tests.asked import value
from tests.chain import Chain, linear_chain_study
from tests.spoken import Loud, small_bridge, spoken_study

ASKED = DecompositionAnalyzer(centres=4, lags=1, every=1)
ANALYZERS = (ASKED, TransitionLawAnalyzer(every=1, kept=7))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return small_bridge(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def study(small):
    """Two layers of texts that the model wrote without its end of text."""
    each = [spoken_study(small, Site("block", k), documents=30) for k in (0, 2)]
    views = {view: viewed for one in each for view, viewed in one.views.items()}
    return replace(each[0], views=views, sampler=Sampler(ignore_eos=True))


@pytest.fixture(scope="module")
def chain():
    return linear_chain_study()


@pytest.mark.parametrize("analyzer", ANALYZERS)
def test_they_are_analyzers_of_a_whole_run_that_need_the_model(analyzer):
    assert isinstance(analyzer, Analyzer)
    assert analyzer.scope == "run"
    assert analyzer.needs == {"model"}


def test_the_parts_of_a_chain_are_named_with_their_errors(chain):
    finding = ASKED.analyze(chain, seed=0)
    for name, truth in zip(
        ("drift", "lack of fit", "memory", "unexplained", "sampling noise"),
        Chain().shares,
        strict=True,
    ):
        found = value(finding, f"L00: {name}")
        # the first few prefixes are not yet stationary, hence the third error
        assert abs(found.value - float(truth)) < 3 * found.stderr + 2e-3
    back = value(finding, "L00: return to the mean alone")
    assert abs(back.value - float(Chain().shares[0])) < 3 * back.stderr + 2e-3
    assert f"most of that is return to the mean ({back.value:.0%})" in finding.headline
    assert abs(value(finding, "L00: gain of drift").value - 1) < 0.1
    said = finding.reading
    assert "4 Gaussian bumps around training states" in said
    assert "1 earlier states" in said
    assert "temperature 1. 2 next tokens sampled" in said


def test_drift_that_is_not_return_to_the_mean_is_not_said_to_be(chain):
    """Neither where the mean alone predicts less than half of it, nor where it predicts more."""
    results = chain_results(chain)
    drift = results.layers[0].shares[:, 0]
    for factor, most in ((0.4, False), (0.6, True), (1.2, False)):
        layer = replace(results.layers[0], reversion=drift.map(lambda end, f=factor: f * end))
        headline = replace(results, layers=(layer,)).headline()
        assert ("most of that is return to the mean" in headline) == most
        assert ("the return to the mean alone would predict" in headline) != most


def chain_results(chain):
    """Results of the chain without figures."""
    held = HeldOutPrefixes.of(chain, documents=20)
    ((view, viewed),) = chain.views.items()
    measurement = measure(
        chain.model,
        {view.site: Predictors.of(viewed, LargerProbe(4, 1), seed=0)},
        BranchSampler(Sampler(), TokenChoice()),
        held.prefixes,
        held.cell,
        cells=held.cells,
        seed=0,
    )
    layer = Decomposition.of(measurement.products[view.site], held.groups, own=True, seed=0)
    return DecompositionResults((view,), (layer,), (torch.ones(1),), held, measurement)


def test_parts_of_every_layer_class_and_position_sum_to_one(study):
    finding = ASKED.analyze(study, seed=0)
    assert finding.view == "L00-L02"
    shares, count = finding.arrays["shares.value"], finding.arrays["count"]
    assert shares.shape == (2, 11, 5)
    assert torch.allclose(shares.sum(-1)[count > 0], torch.tensor(1.0, dtype=torch.float64))
    assert torch.equal(count[:, 0], count[:, 1:7].sum(1))
    assert torch.equal(count[:, 0], count[:, 7:].sum(1))
    stacked = next(figure for figure in finding.figures if figure.name == "layers")
    bars = [layer.values for layer in stacked.panels[0].layers]
    heights = sum(bar["y"] for bar in bars)
    assert torch.allclose(heights, torch.ones(2, dtype=torch.float64))
    labels = [layer.label for layer in stacked.panels[0].layers]
    assert labels[:2] == ["return to the mean", "drift beyond it"]
    assert labels[-1] == "sampling noise"
    assert torch.allclose(bars[0]["y"] + bars[1]["y"], shares[:, 0, 0])


def test_other_texts_have_no_sampling_noise(study):
    finding = ASKED.analyze(replace(study, sampler=None), seed=0)
    names = {estimate.name for estimate in finding.estimates}
    assert "L00: mismatch of text and model" in names
    assert "L00: sampling noise" not in names
    assert "not the model's own" in finding.reading


def test_settings_that_did_not_make_the_texts_are_noticed(study):
    cold = replace(study, sampler=Sampler(temperature=0.3, ignore_eos=True))
    for analyzer in ANALYZERS:
        with pytest.raises(
            UsageError, match="sampling settings of the run are not those of its texts"
        ):
            analyzer.analyze(cold, seed=0)


def test_the_law_is_reported_by_layer_class_and_prefix(study):
    finding = TransitionLawAnalyzer(every=1, kept=7).analyze(study, seed=0)
    arrays = finding.arrays
    assert arrays["L00.mean"].shape == (7, 16)
    values = arrays["L02.eigenvalues"]
    assert float(values.sum()) == pytest.approx(float(arrays["L02.variance"].sum()), rel=1e-9)
    trace = value(finding, "L02: trace of S*")
    assert trace.value == pytest.approx(float(values.mean()), rel=1e-6)
    assert float(arrays["L02.sampler"].mean()) == pytest.approx(trace.value, rel=1e-6)
    entropy, tokens = (arrays[name] for name in ("entropy", "exponential"))
    assert torch.allclose(entropy.exp(), tokens)
    # draws that agree are as likely as equally likely tokens of a number that is no larger
    assert (arrays["collision"] <= tokens + 1e-9).all()
    assert value(finding, "entropy of the next token, all").value == pytest.approx(
        float(entropy.mean())
    )


def test_only_of_a_noise_that_varies_is_it_said_how_it_follows_the_truth(chain, study):
    constant = TransitionLawAnalyzer().analyze(chain, seed=0)
    follows = ("trace correlation", "log variance slope", "log variance intercept")
    assert not any(part in one.name for one in constant.estimates for part in follows)
    assert value(constant, "L00: trace of the fit's noise over S* + (m* - m)²").stderr > 0
    ((view, viewed), *_) = study.views.items()
    law = replace(viewed.fitted.law, noise=Loud())
    loud = replace(viewed, fitted=replace(viewed.fitted, law=law))
    found = TransitionLawAnalyzer(every=1).analyze(replace(study, views={view: loud}), seed=0)
    assert value(found, "L00: log variance slope with S* + (m* - m)²").stderr > 0


RHO, UNITS = 0.6, 50


def synthetic(seed, rho=RHO, spread=1.0, each=200):
    """A true trace T about 4, a claimed one of that correlation, two branches of the mean T."""
    random = generator(seed)
    z = torch.randn(4, UNITS * each, generator=random, dtype=torch.float64)
    true, claimed = 4 + spread * z[0], 4 + 0.5 * (rho * z[0] + (1 - rho**2) ** 0.5 * z[1])
    noise = NoiseComparison(true, true, true + 2 * z[2:], claimed)
    unit = torch.arange(UNITS).repeat_interleave(each)
    return TraceAgreement(noise, unit, Bootstrap.of(torch.ones(UNITS), seed=0, replicates=400))


def test_the_correlation_of_traces_is_that_of_the_truth_with_errors_that_are_its_spread():
    """The branches' mean alone would have .6 / sqrt(1 + 2) = .35."""
    found = [synthetic(seed).correlation() for seed in range(20)]
    values = torch.stack([one.value for one in found])
    stderr = torch.stack([one.stderr for one in found]).mean()
    assert abs(float(values.mean()) - RHO) < 3 * float(stderr) / 20**0.5
    # twenty deviations have a spread that is off by a sixth of itself
    assert float(values.std() / stderr) == pytest.approx(1, abs=0.5)


def test_a_correlation_with_what_does_not_vary_is_not_known():
    """The covariance of branches is then as often below zero as above."""
    assert all(synthetic(seed, spread=0.0).correlation().value.isnan() for seed in range(20))


def test_the_line_of_logarithms_is_that_of_the_truth():
    """T = 1.35 claimed^.5 on average, and a trace whose bands are not all above zero has none."""
    traces = synthetic(0, rho=0.0)
    noise = traces.noise
    true = noise.fitted.sqrt() * 1.35 * (1 + 0.3 * noise.paired[0] / 4 - 0.3)
    found = replace(traces, noise=replace(noise, total=true)).line("total")
    truth = torch.tensor([0.5, math.log(1.35)], dtype=torch.float64)
    assert ((found.value - truth).abs() < 3 * found.stderr + 2e-3).all()
    off = replace(noise, total=noise.fitted - noise.fitted.median())
    assert replace(traces, noise=off).line("total").value.isnan().all()


def test_the_ratio_of_traces_has_an_interval_over_documents():
    traces = synthetic(1)
    found = traces.ratio()
    noise = traces.noise
    assert float(found.value) == pytest.approx(float(noise.fitted.sum() / noise.total.sum()))
    # by linearisation, documents of equal length
    each = ((noise.fitted - found.value * noise.total) / 4).reshape(UNITS, -1).mean(1)
    assert float(found.stderr) == pytest.approx(float(each.std()) / UNITS**0.5, rel=0.15)


@pytest.mark.parametrize("analyzer", ANALYZERS)
def test_a_finding_is_the_same_again_and_saved_whole(study, analyzer, tmp_path):
    before = torch.get_rng_state()
    first, again = (analyzer.analyze(study, seed=0) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.estimates == again.estimates
    save_finding(first, tmp_path)
    assert load_finding(tmp_path).headline == first.headline


def test_no_bar_of_a_stack_covers_another_even_where_parts_are_negative(study):
    """The parts of every bar cover, from lowest to highest, as much as they are long."""
    finding = ASKED.analyze(replace(study, sampler=None), seed=0)
    panels = [panel for figure in finding.figures[:3:2] for panel in figure.panels]
    heights = torch.cat([layer.values["y"] for panel in panels for layer in panel.layers])
    assert heights.min() < 0  # else this would show nothing
    for panel in panels:
        base, y = (torch.stack([layer.values[k] for layer in panel.layers]) for k in ("base", "y"))
        ends = torch.stack([base, base + y])
        covered = ends.amax((0, 1)) - ends.amin((0, 1))
        assert torch.allclose(covered, y.abs().sum(0))


@pytest.mark.parametrize("kind", [DecompositionAnalyzer, TransitionLawAnalyzer])
def test_a_reading_of_one_document_says_that_its_settings_were_not_checked(study, kind):
    for documents, said in ((1, True), (5, False)):
        finding = kind(documents=documents).analyze(study, seed=0)
        assert ("was not checked by their surprisal" in finding.reading) == said


def test_only_several_documents_are_said_to_be_cross_fitted(study):
    one, several = (replace(ASKED, documents=n).analyze(study, seed=0).reading for n in (1, 2))
    assert "cross-fitted" in several
    assert "cross-fitted" not in one
    assert "unbiased" not in one


@pytest.mark.parametrize("kind", [DecompositionAnalyzer, TransitionLawAnalyzer])
def test_a_figure_of_classes_that_are_all_rare_is_left_out(study, kind):
    finding = kind(documents=2, every=5).analyze(study, seed=0)
    assert finding.figures
    assert not {"groups", "branches"} & {figure.name for figure in finding.figures}
    for figure in finding.figures:
        assert figure.svg().lstrip().startswith("<")


@pytest.mark.parametrize("analyzer", ANALYZERS)
def test_what_cannot_be_asked_is_refused(study, analyzer):
    with pytest.raises(UsageError, match="next tokens need the language model"):
        analyzer.analyze(replace(study, model=None), seed=0)
    viewed = next(iter(study.views.values()))
    with pytest.raises(UsageError, match="token axis"):
        analyzer.analyze(replace(study, views={DEPTH: viewed}), seed=0)


@pytest.mark.parametrize(
    "settings", [{"documents": 0}, {"centres": 0}, {"lags": 0}, {"transitions": 5}]
)
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(UsageError, match=f"{next(iter(settings))} must be at least"):
        DecompositionAnalyzer(**settings)


def test_linear_fits_of_every_layer_are_asked_for_by_a_setting(study):
    own = [view for view in study.views if view.site == Site("block", 2)]
    finding = replace(ASKED, fits="linear").analyze(study.only(own[0]), seed=0)
    assert finding.view == "L00-L02"
    assert finding.arrays["shares.value"].shape == (3, 11, 5)
    assert "made for this analysis at every layer" in finding.reading
    with pytest.raises(UsageError, match="fits must be own or linear, got 'mine'"):
        replace(ASKED, fits="mine")
