"""What goodness_of_fit says of a real model, and how its finding is kept."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.paths.documents import Documents
from sdelens.protocols import Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.states.capturing import record, sites_of
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.goodness_of_fit.analyzer import GoodnessOfFitAnalyzer
from tests.asked import value
from tests.plugins.analyzers.goodness_of_fit.known import QUICK, around, kernel
from tests.spoken import linear_study


@pytest.fixture(scope="module")
def stories_study(stories):
    """A linear fit to block 2 of a real model."""
    texts = Documents.of(sample(stories, Sampler(), documents=60, length=40, seed=0))
    captured = record(stories, texts, sites_of("2", stories), skip_first=1)
    sides = (range(40), range(40, 48), range(48, 60))
    return linear_study(captured, texts, Site("block", 2), sides, basis="pca:16", model=stories)


def test_nulls_of_a_real_model_are_an_untrained_copy_and_shuffled_words(stories_study):
    finding = QUICK.analyze(stories_study, seed=0)
    start = "linear over i.i.d. per position, "
    names = [e.name.removeprefix(start) for e in finding.estimates if e.name.startswith(start)]
    assert names == [
        "these data",
        "states permuted in time",
        "tokens permuted",
        "untrained model",
    ]
    here, mixed = value(finding, start + "these data"), value(finding, start + "tokens permuted")
    assert here.value > mixed.value + 2 * (here.stderr + mixed.stderr)
    assert "not here" not in finding.reading
    assert "gain over linear," not in "".join(e.name for e in finding.estimates)
    alone = QUICK.analyze(replace(stories_study, model=None), seed=0)
    assert value(alone, start + "these data") == here


def test_a_finding_depends_on_its_seed_alone(sides, true):
    before = torch.get_rng_state()
    again, other = (QUICK.analyze(around(kernel(), sides), seed=seed) for seed in (0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert again.estimates == true.estimates
    assert other.estimates != true.estimates


def test_findings_are_saved_and_loaded_whole(true, tmp_path):
    save_finding(true, tmp_path)
    loaded = load_finding(tmp_path)
    assert loaded.headline == true.headline
    assert loaded.estimates == true.estimates
    assert loaded.arrays.keys() == true.arrays.keys()


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="paths must be at least 4, got 2"):
        GoodnessOfFitAnalyzer(paths=2)
