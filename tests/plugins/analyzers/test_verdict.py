"""The verdict's final exam, and what is written of it."""

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.evidence.evidence import Sample, gain_over_best, gather
from sdelens.evidence.process_class import CANNOT_TELL, classify
from sdelens.fitting.fit import fit_view
from sdelens.fitting.options import FitOptions
from sdelens.fitting.study import Study, Viewed
from sdelens.paths.documents import Document, Documents
from sdelens.paths.split import split
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.report import Report
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens_plugins.analyzers.verdict import VerdictAnalyzer
from sdelens_plugins.probes.constant import ConstantProbe
from sdelens_plugins.reporters.figures.drawing import draw
from sdelens_plugins.reporters.figures.reporter import FiguresReporter
from tests.plugins.analyzers.verdict_exam import (
    DISCRETE,
    EXAM,
    OVER_TIME,
    answers,
    autoregression,
    populations,
    verdict_on,
)

pytestmark = pytest.mark.filterwarnings("ignore::sdelens.laws.resolution.StepTooLong")

VIEW = View(Site("block", 0))
SMALL = {
    "underdamped": 300,
    "two levels": 400,
    "moving mean": 300,
    "stable noise": 500,
    "two peaks": 300,
    "logistic map": 300,
    "independent": 300,
    "OU at dt = .5": 600,
    "OU": 100,
}
"""Systems of the exam that are judged in every run of the tests, from so many paths."""
SENTENCES = {
    "Non-Markov: memory of the mean": ("underdamped", "two levels"),
    "Heterogeneous paths: differences of level": ("two levels", "OU at dt = .5"),
    "Changes along the path: change of the mean": ("moving mean", "two levels"),
    "Jump: tails beyond a diffusion's": ("stable noise", "OU at dt = .5"),
    "No better than baseline: gain over i.i.d.": ("independent", "two peaks"),
    "Cannot tell: memory of the mean": ("OU", "OU at dt = .5"),
    "Discrete, non-Gaussian Markov: mixture": ("two peaks", "logistic map"),
    "Discrete Gaussian Markov: states at which": ("logistic map", "two peaks"),
    "Compatible with a diffusion: ": ("OU at dt = .5", "two levels"),
    "a Markov process in this state": ("underdamped", "two levels"),
    "one Markov law for all paths": ("two levels", "moving mean"),
    "a law that is constant along the path": ("moving mean", "two levels"),
    "a diffusion, because of jumps": ("stable noise", "two peaks"),
    "a diffusion, because the mean reverses orientation": ("logistic map", "two peaks"),
    "Gaussian noise": ("stable noise", "logistic map"),
    "a linear SDE;": ("logistic map", "OU at dt = .5"),
    "memory of the mean above": ("OU at dt = .5", "underdamped"),
    "Not ruled out: memory of the mean up to": ("OU", "OU at dt = .5"),
    "This sample would have shown": ("independent", "few"),
    "The fit misses part of the mean": ("logistic map", "two peaks"),
    "Simulated paths differ from the data": ("stable noise", "OU at dt = .5"),
    "Memory may come from the differences": ("forgetful levels", "two levels"),
    "Fourth moments of the noise may not exist": ("stable noise", "two peaks"),
    "The fit does not gain over the best baseline": ("independent", "two peaks"),
    "a class needs 10 held-out documents": ("few", "OU"),
    "No conclusion is drawn": ("few", "OU"),
    "fit beats every baseline on": ("two peaks", "independent"),
    "fit beats every baseline but linear": ("OU at dt = .5", "two peaks"),
    "is a poor description of the state": ("moving mean", "independent"),
    "There is no clear evidence that this fit": ("independent", "moving mean"),
    "are the same law": ("two peaks", "OU"),
    "A linear law is better with an intercept": ("moving mean", "OU"),
    "are not shown to differ from an intercept": ("OU", "moving mean"),
    "No continuous-time diffusion is claimed": ("two peaks", "OU"),
    "its matrix has a real logarithm": ("OU", "two peaks"),
}
"""Beginnings of sentences, with data of which they are printed and data of which they are not."""


@cache
def judged(system, seed=0, paths=None):
    """The verdict on one sample of a system of the exam, or of two others."""
    if system == "few":
        case = replace(EXAM["OU"], paths=50)
    elif system == "forgetful levels":
        drawn = populations(2.0, levels=(-0.5, 0.5))
        case = replace(EXAM["two levels"], paths=300, dt=2.0, simulate=drawn)
    else:
        case = replace(EXAM[system], paths=paths or EXAM[system].paths)
    return verdict_on(case, seed)


def printed(system):
    return "\n".join(judged(system, paths=SMALL.get(system)).sentences)


def studied(states, dt, probe, seed=0):
    """A study of one view of plain arrays, each path a document of its own."""
    paths, count = Trajectories.from_states(states, dt), len(states)
    sides = split(range(count), seed=seed)
    fitted = fit_view(
        paths,
        sides,
        {number: number for number in range(count)},
        probe,
        FitOptions(seed=seed),
        kind="constant" if isinstance(probe, ConstantProbe) else "linear",
    )
    parts = (paths.select(side) for side in (sides.train, sides.validation, sides.test))
    documents = Documents.of([Document((0,))] * count)
    return Study("exam", {VIEW: Viewed(fitted, *parts)}, documents)


def gathered(viewed, documents):
    """The evidence about a fit."""
    fitted = viewed.fitted
    sides = (fitted.encoded(side) for side in (viewed.train, viewed.validation, viewed.test))
    sample = Sample(*sides, documents.group)
    return gather(fitted.sde, fitted.record.scores, sample, seed=0)


@pytest.mark.parametrize("system", SMALL)
def test_a_known_system_has_its_class_in_a_small_sample(system):
    expected = CANNOT_TELL if system == "OU" else EXAM[system].expected
    assert judged(system, paths=SMALL[system]).process_class == expected


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_sentence_is_printed_of_the_data_that_it_is_true_of(sentence):
    true, false = SENTENCES[sentence]
    assert sentence in printed(true)
    assert sentence not in printed(false)


@pytest.mark.slow
@pytest.mark.parametrize("system", EXAM)
def test_a_known_system_has_its_class_in_36_of_40_samples(system):
    case, given = EXAM[system], Counter(judged(system, seed).process_class for seed in range(40))
    assert sum(given[answer] for answer in answers(case)) >= 36, given
    # a verdict that never tells anything would pass the above
    assert given[case.expected] >= 20, given


@pytest.fixture(scope="module")
def study():
    """A small sample of an alternating chain."""
    return studied(autoregression(-0.5)(200, 60, 1), 1.0, DISCRETE)


@pytest.fixture(scope="module")
def finding(study):
    return VerdictAnalyzer().analyze(study, seed=0)


def test_the_finding_holds_every_property_with_what_could_be_seen(study, finding):
    assert isinstance(VerdictAnalyzer(), Analyzer)
    names = [estimate.name for estimate in finding.estimates]
    assert names[0].startswith("gain over")
    for name in (
        "lack of fit of the mean",
        "memory of the mean",
        "memory of the scale",
        "change of the mean along the path",
        "differences of level between paths",
        "weight of the tails",
        "mixture over Gaussian",
    ):
        assert name in names
    assert names[-2:] == ["embeddable in a linear SDE", "held-out documents"]
    assert all("detectable from" in estimate.unit for estimate in finding.estimates[:-2])
    assert finding.estimates[-1].value == 20
    low, high, value = (finding.arrays[name] for name in ("low", "high", "value"))
    assert ((low <= value) & (value <= high)).all()
    assert (finding.arrays["detectable"] >= finding.arrays["threshold"]).all()
    evidence = gathered(study.single[1], study.documents)
    assert classify(evidence).kind.lower() in finding.headline.lower()
    assert finding.details[0].startswith(("Ruled out: ", "Nothing is ruled out."))


def test_the_same_seed_gives_the_same_finding(study, finding):
    again = VerdictAnalyzer().analyze(study, seed=0)
    assert again.headline == finding.headline
    assert all(torch.equal(finding.arrays[name], again.arrays[name]) for name in again.arrays)


def test_the_finding_can_be_saved_and_drawn(finding, tmp_path):
    save_finding(finding, tmp_path)
    assert load_finding(tmp_path).headline == finding.headline
    report = Report(title="t", verdict=(), findings=(finding,))
    FiguresReporter().render(report, tmp_path)
    assert list(tmp_path.rglob("*.png"))


def test_effects_are_drawn_at_their_size_with_their_intervals(finding):
    (figure,) = finding.figures
    bars = figure.panels[0].layers[0].values
    limits = draw(figure).subfigures[0].axes[0].get_xlim()
    above = finding.arrays["threshold"] > 0
    for role, name in (("y", "value"), ("low", "low"), ("high", "high")):
        multiples = (finding.arrays[name] / finding.arrays["threshold"])[above]
        assert torch.allclose(bars[role].double(), multiples.double(), rtol=1e-4, atol=1e-6)
        assert limits[0] <= multiples.min() <= multiples.max() <= limits[1]


def test_jumps_are_asked_for_in_continuous_time_only():
    states = autoregression(0.5)(100, 40, 2)
    for probe, asked in ((DISCRETE, False), (OVER_TIME, True)):
        study = studied(states, 1.0, probe)
        evidence = gathered(study.single[1], study.documents)
        assert (evidence.jump is not None) == asked


def test_a_fit_is_not_held_against_its_own_family():
    # increments that alternate: random walk and i.i.d. are worse than nothing fitted
    walk = torch.randn(200, 40, 1, generator=generator(3)).cumsum(1) + torch.arange(40.0)[:, None]
    record = studied(walk, 1.0, ConstantProbe()).single[1].fitted.record
    gain = gain_over_best(record.scores)
    # its own mean is among the baselines as well, and against that it gains nothing
    assert gain.name == "gain over random walk"
    assert gain.shown


def test_a_fit_without_scores_has_no_verdict():
    with pytest.raises(UsageError, match="held-out scores"):
        gain_over_best({})


def test_two_documents_of_one_group_are_one_sample():
    states = autoregression(-0.5)(100, 40, 4)
    study = studied(states, 1.0, DISCRETE)
    pairs = Documents.of([Document((0,), group=number // 2) for number in range(100)])
    viewed = study.single[1]
    alone, together = (gathered(viewed, each) for each in (study.documents, pairs))
    assert together.mixture.groups < alone.mixture.groups
    assert together.mixture.value == pytest.approx(alone.mixture.value)
