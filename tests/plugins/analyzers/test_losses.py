"""What the losses analyzer says of how training went."""

from dataclasses import replace

import pytest
import torch

from sdelens_plugins.analyzers.losses import LossesAnalyzer
from tests.asked import value
from tests.plugins.analyzers.studied import BLOCK, around, epochs, kernel, numbers_in


def test_losses_name_the_best_epoch_and_the_rise_after_it(known):
    history = epochs([2.0, 1.5, 1.4, 1.6, 1.9])
    study = around(kernel(torch.eye(4), 1.0), *known, history=history)
    finding = LossesAnalyzer().analyze(study, seed=0)
    assert "after epoch 3" in finding.headline
    assert len(numbers_in(finding.headline)) <= 2
    assert "whose weights are kept" in finding.headline
    assert value(finding, "best epoch").value == 3
    assert value(finding, "validation rise").value == pytest.approx(0.5)
    assert finding.arrays["validation.total"].tolist() == [2.0, 1.5, 1.4, 1.6, 1.9]
    assert [panel.title for panel in finding.figures[0].panels] == [
        "Drift loss",
        "Diffusion loss (minimised)",
        "Total (not minimised)",
    ]


def test_a_best_epoch_that_is_the_last_planned_may_not_be_the_best(known):
    study = around(kernel(torch.eye(4), 1.0), *known, history=epochs([2.0, 1.5, 1.4]))
    headline = LossesAnalyzer().analyze(study, seed=0).headline
    assert "after epoch 3" in headline
    assert "might lower it further" in headline


def test_the_headline_says_when_training_was_cut_short_at_its_best(known):
    history = epochs([2.0, 1.5, 1.4, 1.3])[:3]
    study = around(kernel(torch.eye(4), 1.0), *known, history=history)
    assert "although more were planned" in LossesAnalyzer().analyze(study, seed=0).headline


def test_losses_headline_is_the_loss_that_is_minimised(known):
    history = epochs([2.0, 1.5], drift=0.25)
    study = around(kernel(torch.eye(4), 1.0), *known, history=history)
    finding = LossesAnalyzer().analyze(study, seed=0)
    assert "lowest, 1.25 nats" in finding.headline
    assert "Only the diffusion loss" in finding.figures[0].caption


def test_the_test_loss_stands_beside_with_its_error_over_documents(known):
    study = around(kernel(torch.eye(4), 1.0), *known, history=epochs([2.0, 1.5]))
    _, viewed = study.single
    scores = {"held_out_nll_per_dim": 1.2, "held_out_nll_stderr": 0.1, "held_out_documents": 9}
    record = replace(viewed.fitted.record, scores=scores)
    scored = replace(viewed, fitted=replace(viewed.fitted, record=record))
    finding = LossesAnalyzer().analyze(replace(study, views={BLOCK: scored}), seed=0)
    found = value(finding, "test diffusion loss")
    assert (found.value, found.stderr) == (1.2, 0.1)
    assert "n = 9" in found.unit


def test_a_closed_form_fit_has_no_losses(known):
    finding = LossesAnalyzer().analyze(around(kernel(torch.eye(4), 1.0), *known), seed=0)
    assert "no losses by epoch" in finding.headline
    assert not finding.figures
    assert not finding.estimates
