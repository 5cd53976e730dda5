"""Whether complexity finds an error that grows with the text, and only then."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.protocols import Analyzer
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens_plugins.analyzers.answers import Answers
from sdelens_plugins.analyzers.complexity import ComplexityAnalyzer
from sdelens_plugins.analyzers.measured import ERRORS, MEASURES, Table
from tests.asked import value
from tests.language import real_study


@pytest.fixture(scope="module")
def study(stories):
    return real_study(stories, documents=75)


def table(count, seed, link=0.0):
    """Random measures, of which one has a say in the error; all errors grow with length."""
    random = generator(0, seed)
    columns = {
        name: torch.randn(count, generator=random, dtype=torch.float64)
        for name in ("length", *MEASURES)
    }
    noise = torch.randn(2, count, generator=random, dtype=torch.float64)
    errors = noise + link * columns["diversity"] + columns["length"]
    return Table(**dict(zip(ERRORS, errors, strict=True)), **columns)


def test_it_fulfils_the_protocol():
    assert isinstance(ComplexityAnalyzer(), Analyzer)
    assert "model" in ComplexityAnalyzer.needs


def test_an_error_that_grows_is_found_and_named():
    found = Answers.of(table(80, "grows", link=2.0), seed=0)
    assert "type-token ratio" in found.headline()
    shown = {(each.measure, each.held) for each in found.all if each.chance <= 0.05}
    assert shown == {("diversity", False), ("diversity", True)}
    (held,) = [e for e in found.all if e.held and (e.error, e.measure) == ("nats", "diversity")]
    low, high = held.rho.interval(found.level)
    # with the length held, 2 of diversity against 1 of noise: 2/sqrt(5) of a normal correlation,
    # whose rank correlation is 6/pi asin(rho/2)
    truth = 6 / torch.pi * float(torch.asin(torch.tensor(2 / 5**0.5 / 2)))
    assert low < truth < high


def test_an_error_that_falls_is_not_said_to_grow():
    headline = Answers.of(table(80, "falls", link=-2.0), seed=0).headline()
    assert "0 of 20 rank correlations show an error that grows" in headline
    assert "strongest that falls" in headline


def test_chance_alone_is_rarely_shown():
    shown = [
        any(each.chance <= 0.05 for each in Answers.of(table(12, trial), seed=trial).all)
        for trial in range(12)
    ]
    # Holm holds the chance of one or more at 5%: more than 4 of 12 has probability 2e-4
    assert sum(shown) <= 4


def test_what_is_not_shown_is_said_with_what_would_be():
    found = Answers.of(table(30, "none"), seed=0)
    assert "none of 20" in found.headline()
    assert f"{found.detectable:.2f}" in found.headline()
    assert 0.5 < found.detectable < 0.8


def test_documents_of_one_group_count_once():
    made = table(6, "groups")
    unit = torch.tensor([0, 0, 4, 4, 4, 9])
    grouped = made.grouped(unit)
    assert len(grouped.nats) == 3
    assert float(grouped.nats[1]) == pytest.approx(float(made.nats[2:5].mean()))


def test_a_real_model_is_asked_of_its_test_documents(study, tmp_path):
    before = torch.get_rng_state()
    finding = ComplexityAnalyzer().analyze(study, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    assert finding.arrays["nats"].shape == (25,)
    assert value(finding, "least correlation").value > 0.4
    assert len(finding.estimates) == len(ERRORS) * len(MEASURES) * 2 + 1
    lengths = study.documents.lengths[50:]
    assert finding.arrays["length"].tolist() == (lengths - 2).tolist()
    save_finding(finding, tmp_path)
    assert load_finding(tmp_path).estimates == finding.estimates


def test_too_few_documents_are_refused(study):
    ((view, viewed),) = study.views.items()
    few = replace(viewed, test=viewed.test.select([50, 51, 52]))
    with pytest.raises(UsageError, match="need 8 test documents"):
        ComplexityAnalyzer().analyze(replace(study, views={view: few}), seed=0)
    with pytest.raises(UsageError, match="at least 8"):
        ComplexityAnalyzer(documents=3)


def test_without_a_model_it_is_refused(study):
    with pytest.raises(UsageError, match="language model"):
        ComplexityAnalyzer().analyze(replace(study, model=None), seed=0)
