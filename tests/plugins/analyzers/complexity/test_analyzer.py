"""Whether complexity finds an error that grows with the text, and only then."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.protocols import Analyzer
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens_plugins.analyzers.complexity.analyzer import ComplexityAnalyzer
from sdelens_plugins.analyzers.complexity.correlations import Correlations
from sdelens_plugins.analyzers.complexity.document_table import ERRORS, MEASURES, DocumentTable
from sdelens_plugins.analyzers.complexity.results import headline, reading
from tests.asked import value
from tests.language import real_study


@pytest.fixture(scope="module")
def study(stories):
    return real_study(stories, documents=75)


def table(count, seed, link=0.0, **annotations):
    """Random measures, of which one has a say in the error; all errors grow with length."""
    random = generator(0, seed)
    columns = {
        name: torch.randn(count, generator=random, dtype=torch.float64)
        for name in ("length", *MEASURES)
    }
    noise = torch.randn(2, count, generator=random, dtype=torch.float64)
    errors = noise + link * columns["diversity"] + columns["length"]
    growth = torch.full((count,), torch.nan, dtype=torch.float64)
    named = dict(zip(ERRORS, errors, strict=True)) | columns
    return DocumentTable(**named, growth=growth, annotations=annotations)


def rated(study, column):
    """The same study, each document with this coherence; NaN is none."""
    documents = replace(study.documents, annotations={"coherence": column})
    return replace(study, documents=documents)


def test_it_fulfils_the_protocol():
    assert isinstance(ComplexityAnalyzer(), Analyzer)
    assert "model" in ComplexityAnalyzer.needs


def test_an_error_that_grows_is_found():
    found = Correlations.of(table(80, "grows", link=2.0), seed=0)
    assert "grows with the text's type-token ratio" in headline(found)
    shown = {(each.measure, each.length_held) for each in found.all if each.p <= 0.05}
    assert shown == {("diversity", False), ("diversity", True)}
    (held,) = [
        e for e in found.all if e.length_held and (e.outcome, e.measure) == ("nats", "diversity")
    ]
    low, high = held.rho.interval(found.level)
    # with the length held, 2 of diversity against 1 of noise: 2/sqrt(5) of a normal correlation,
    # whose rank correlation is 6/pi asin(rho/2)
    truth = 6 / torch.pi * float(torch.asin(torch.tensor(2 / 5**0.5 / 2)))
    assert low < truth < high


def test_an_error_that_falls_is_not_said_to_grow():
    found = Correlations.of(table(80, "falls", link=-2.0), seed=0)
    assert "0 of 20 rank correlations show an error that grows" in reading(found)
    assert "falls with the text's type-token ratio" in headline(found)


def test_chance_alone_is_rarely_shown():
    shown = [
        any(each.p <= 0.05 for each in Correlations.of(table(12, trial), seed=trial).all)
        for trial in range(12)
    ]
    # Holm holds the chance of one or more at 5%: more than 4 of 12 has probability 2e-4
    assert sum(shown) <= 4


def test_what_is_not_shown_is_said_with_what_would_be():
    found = Correlations.of(table(30, "none"), seed=0)
    assert "None of 20" in headline(found)
    assert f"{found.detectable:.2f}" in reading(found)
    assert 0.5 < found.detectable < 0.8


def test_documents_of_one_group_count_once():
    made = table(6, "groups")
    unit = torch.tensor([0, 0, 4, 4, 4, 9])
    grouped = made.grouped(unit)
    assert len(grouped.nats) == 3
    assert float(grouped.nats[1]) == pytest.approx(float(made.nats[2:5].mean()))


def test_an_annotation_that_the_error_is_known_to_follow_is_found():
    made = table(200, "rated")
    ranks = made.nats.argsort().argsort().double()
    found = Correlations.of(
        replace(made, annotations={"complexity": ranks, "none": -ranks}), seed=0
    )
    (one, held) = (
        e for e in found.all if (e.outcome, e.measure) == ("nats", "annotated complexity")
    )
    assert one.rho.value == pytest.approx(1)
    assert held.length_held
    assert one.p == pytest.approx(len(found.all) / 10_000)
    (other, _) = (e for e in found.all if (e.outcome, e.measure) == ("nats", "annotated none"))
    assert other.rho.value == pytest.approx(-1)
    assert "with annotated complexity is 1.00" in reading(found)


def test_an_annotation_may_have_the_name_of_a_measure():
    made = table(40, "named")
    found = Correlations.of(replace(made, annotations={"diversity": made.nats}), seed=0)
    values = {
        e.measure: e.rho.value for e in found.all if e.outcome == "nats" and not e.length_held
    }
    assert values["annotated diversity"] == pytest.approx(1)
    assert abs(values["diversity"]) < 0.8


def test_documents_without_an_annotation_do_not_count_in_its_correlation():
    made = table(60, "gaps")
    gaps = (made.length + made.nats).where(torch.arange(60) % 3 > 0, torch.nan)
    found = Correlations.of(replace(made, annotations={"complexity": gaps}), seed=0)
    (one, _) = (e for e in found.all if (e.outcome, e.measure) == ("nats", "annotated complexity"))
    assert one.rho.documents == 40
    seen = gaps.isfinite()
    ranks = [each[seen].argsort().argsort().double() for each in (made.nats, gaps)]
    assert one.rho.value == pytest.approx(float(torch.corrcoef(torch.stack(ranks))[0, 1]))


def test_what_few_documents_have_or_all_alike_is_left_out():
    few = torch.full((40,), torch.nan, dtype=torch.float64)
    few[:7] = torch.arange(7).double()
    same = torch.ones(40, dtype=torch.float64)
    found = Correlations.of(table(40, "few", few=few, same=same), seed=0)
    assert {e.measure for e in found.all} == set(MEASURES)


def test_a_group_lacks_what_one_of_its_documents_lacks():
    notes = torch.tensor([1.0, 3.0, 5.0, torch.nan], dtype=torch.float64)
    grouped = table(4, "grouped", complexity=notes).grouped(torch.tensor([7, 7, 9, 9]))
    assert float(grouped.annotations["complexity"][0]) == 2
    assert grouped.annotations["complexity"][1].isnan()


def test_a_real_model_is_asked_of_its_test_documents(study, tmp_path):
    before = torch.get_rng_state()
    finding = ComplexityAnalyzer().analyze(study, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    assert finding.arrays["nats"].shape == (25,)
    assert value(finding, "smallest correlation").value > 0.4
    assert len(finding.estimates) == len(ERRORS) * len(MEASURES) * 2 + 1
    lengths = study.documents.lengths[50:]
    assert finding.arrays["length"].tolist() == (lengths - 2).tolist()
    save_finding(finding, tmp_path)
    assert load_finding(tmp_path).estimates == finding.estimates


def test_a_real_model_is_asked_of_its_annotations_too(study):
    column = torch.arange(75.0).double().roll(30)
    finding = ComplexityAnalyzer().analyze(rated(study, column), seed=0)
    assert finding.arrays["annotation.coherence"].tolist() == column[50:].tolist()
    # a linear kernel stretches deviations alike everywhere: there is nothing to correlate
    grown = finding.arrays["growth"]
    assert torch.allclose(grown, grown[:1], atol=1e-6)
    assert len(finding.estimates) == len(ERRORS) * (len(MEASURES) + 1) * 2 + 1
    assert "with annotated coherence" not in finding.reading


def test_too_few_documents_are_refused(study):
    ((view, viewed),) = study.views.items()
    few = replace(viewed, test=viewed.test.select([50, 51, 52]))
    with pytest.raises(UsageError, match="need 10 test documents"):
        ComplexityAnalyzer().analyze(replace(study, views={view: few}), seed=0)
    with pytest.raises(UsageError, match="at least 10"):
        ComplexityAnalyzer(documents=3)


def test_without_a_model_it_is_refused(study):
    with pytest.raises(UsageError, match="language model"):
        ComplexityAnalyzer().analyze(replace(study, model=None), seed=0)
