"""The first screen of a report: what it says, checks and shows of scores and findings."""

import pytest
import torch

from sdelens.evidence.verdict import few_documents
from sdelens.protocols import Site
from sdelens.report import Figure, Finding, Strip
from sdelens.runs.first_screen import first_screen, merged
from sdelens.runs.run_report import report_of
from sdelens.states.recording import View
from sdelens.summary import CALIBRATED, DRIFT, KIND, Check, Summary

GAINS = {"random_walk": 0.4, "iid": 0.2, "iid_position": 0.15, "linear": 0.05, "linear_token": 0.0}


def view(layer):
    return View(Site("block", layer))


def scores(gains=GAINS, *, documents=40, error=0.01):
    """Held-out scores of a fit with these gains over its baselines."""
    rows = {name: {"gain_of_fit": g, "gain_of_fit_stderr": error} for name, g in gains.items()}
    return {
        "baselines": rows,
        "noise_column": "constant",
        "held_out_documents": documents,
        "transitions": 100 * documents,
    }


def finding(analyzer, question, **summary):
    figures = tuple(Figure(name, (), "") for name in ("other", "layers"))
    strips = (Strip("surprise", ("a",), (1.0,)),)
    return Finding(
        "L03",
        "",
        "",
        analyzer=analyzer,
        question=question,
        figures=figures,
        strips=strips,
        summary=Summary(**summary),
    )


def test_baselines_are_beaten_lost_to_or_neither():
    gains = GAINS | {"linear": -0.05}
    checks = {c.claim: c for c in first_screen({view(3): scores(gains)}, ()).checks}
    assert checks["beats i.i.d. per position"] == Check(
        "beats i.i.d. per position", "yes", "+0.150"
    )
    assert checks["beats linear"].outcome == "no"
    assert checks["beats linear + token"].outcome == "unclear"
    assert len(checks) == 3  # of the other baselines, the best stands for all


def test_without_analyzers_the_sentence_is_that_of_the_scores():
    def says(gains):
        return first_screen({view(3): scores(gains)}, ()).sentence

    assert says({"iid": 0.1}) == "The fit predicts the next state better than every baseline."
    assert says({"iid": 0.0}).endswith(
        "not shown to predict the next state better than any baseline."
    )
    assert says({"iid": 0.1, "linear": 0.0}).endswith("better than: linear.")


def test_few_documents_allow_neither_sentence_nor_checks():
    screen = first_screen({view(3): scores(documents=4)}, ())
    assert screen.sentence == few_documents(4)
    assert not screen.checks
    assert screen.sample == "4 held-out documents, 400 transitions"


def test_the_share_of_drift_is_said_before_the_kind_of_process():
    found = (
        finding(
            "classes", KIND, sentence="Not a diffusion.", checks=(Check("a diffusion", "no"),)
        ),
        finding("calibration", CALIBRATED, checks=(Check("calibrated", "yes"),)),
        finding("shares", DRIFT, sentence="Half is drift.", figure="layers", strip="surprise"),
    )
    screen = first_screen({view(3): scores()}, found)
    assert screen.sentence == "Half is drift. Not a diffusion."
    assert [check.claim for check in screen.checks[-2:]] == ["calibrated", "a diffusion"]
    assert screen.picture.name == "layers"
    assert screen.strip.name == "surprise"


def test_an_analyzer_that_proposes_nothing_adds_nothing():
    screen = first_screen({view(3): scores()}, (finding("silent", DRIFT),))
    assert screen.picture is None
    assert screen.strip is None


@pytest.mark.parametrize(
    ("outcomes", "shared"),
    [(("yes", "yes"), "yes"), (("no", "no"), "no"), (("yes", "no"), "unclear")],
)
def test_checks_of_several_layers_become_one(outcomes, shared):
    (check,) = merged(Check("beats linear", outcome) for outcome in outcomes)
    assert check == Check("beats linear", shared, f"{outcomes.count('yes')} of 2 layers")


def test_gains_are_drawn_by_baseline_for_one_layer_and_by_layer_for_several():
    one = first_screen({view(3): scores()}, ()).gains.panels[0].layers
    assert one[0].words[-1] == "linear + token"
    assert one[0].values["y"].tolist() == pytest.approx(list(GAINS.values()))
    assert torch.all(one[0].values["low"] < one[0].values["y"])
    several = first_screen({view(1): scores(), view(4): scores()}, ()).gains.panels[0].layers
    assert {layer.label for layer in several} >= {"linear", "random walk"}
    assert several[0].values["x"].tolist() == [1.0, 4.0]


def test_a_run_has_a_first_screen_and_its_findings_a_question(run):
    report = report_of(run)
    assert report.first_screen.sentence
    assert report.first_screen.gains.panels
    assert sum(map(len, report.sections.values())) == len(report.findings)
