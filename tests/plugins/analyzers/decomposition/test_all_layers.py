"""Linear fits at layers that a run did not fit."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.paths.trajectories import began
from sdelens.protocols import Site
from sdelens.runs.engine import execute
from sdelens.runs.job import Job
from sdelens.states.recording import View
from sdelens_plugins.analyzers.decomposition.all_layers import linear_fits
from tests.small import small_model

TEXTS = {"documents_wanted": 30, "length": 20}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Of the middle one of three blocks, fitted by the linear probe."""
    folder = tmp_path_factory.mktemp("run")
    job = Job(
        model=str(small_model(folder)),
        layers="1",
        probe="linear",
        source_settings=TEXTS,
        cache=False,
    )
    return execute(job, folder / "run").study(with_model=True)


def test_every_block_has_a_fit_and_the_runs_own_layer_the_law_that_the_run_has(study):
    found = linear_fits(study, seed=3)
    assert list(found.views) == [View(Site("block", k)) for k in range(3)]
    (view, own), again = study.single, found.views[study.single[0]]
    for name, tensor in own.fitted.law.tensors().items():
        assert torch.equal(tensor, again.fitted.law.tensors()[name]), name
    assert torch.equal(own.fitted.basis.encoder, again.fitted.basis.encoder)
    assert view in found.views


def test_sides_and_what_of_them_is_scored_are_those_of_the_run(study):
    own, again = study.single[1], linear_fits(study, seed=3).views[View(Site("block", 2))]
    for side in ("train", "validation", "test"):
        assert began(getattr(again, side)) == began(getattr(own, side))


def test_a_fit_along_the_depth_has_no_layers_to_fit_along_the_text(study):
    ((view, viewed),) = study.views.items()
    deep = replace(study, views={replace(view, axis="layer"): viewed})
    with pytest.raises(UsageError, match="this run was fitted along the depth"):
        linear_fits(deep, seed=0)


def test_without_the_model_there_is_an_error_that_says_so(study):
    with pytest.raises(UsageError, match="need the language model"):
        linear_fits(replace(study, model=None), seed=0)
