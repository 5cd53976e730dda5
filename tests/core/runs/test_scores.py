"""Scores and findings of a study as tables, and what objects print."""

import pytest

import sdelens
from sdelens.evidence.verdict import LABELS
from sdelens.runs.saved_findings import findings_of


@pytest.fixture(scope="module")
def study(run):
    return sdelens.load(run.folder)


def test_scores_have_a_row_for_each_fit_and_baseline_with_the_numbers_of_the_run(study, run):
    table = study.scores.to_pandas()
    assert list(dict.fromkeys(table.layer)) == ["0", "1"]
    own = table[table.layer == "1"].set_index("mean")
    scores = run.metrics(run.view(1))
    assert list(own.index) == [*(LABELS[name] for name in LABELS), "fit"]
    linear = scores["baselines"]["linear"]
    assert own.nll_per_dim["linear"] == linear["nll_per_dim"]
    assert own.gain_of_fit_stderr["linear"] == linear["gain_of_fit_stderr"]
    assert own.nll_per_dim["fit"] == scores["fit"]["nll_per_dim"]


def test_scores_print_as_tables_of_80_columns(study):
    printed = repr(study.scores)
    assert printed.count("neural (the fit)") == 2
    assert max(map(len, printed.splitlines())) <= 80
    shown = study.scores._repr_html_()
    assert shown.count("<table>") == 2
    assert "± is one standard error" in shown


def test_a_study_is_a_table_of_all_estimates_of_its_findings(study):
    study.analyze("losses", layer=0)
    study.analyze("losses", layer=1)
    table = study.to_pandas()
    found = findings_of(study.run)
    assert list(table.columns)[:4] == ["analyzer", "view", "prompt", "name"]
    assert list(table.value) == [e.value for finding in found for e in finding.estimates]
    assert {"L00", "L01"} <= set(table.view[table.analyzer == "losses"])


def test_objects_print_as_one_line_with_what_they_hold(study):
    fitted = study.views[study.run.view(0)].fitted
    gain = fitted.record.scores["gain_over_iid_position"]
    assert repr(fitted).startswith("<neural fit (discrete) of 16 coordinates at L00, ")
    assert repr(fitted).endswith(f"{gain:+.3f} over i.i.d. per position>")
    assert repr(study.documents) == f"<20 documents, {len(study.documents.tokens)} tokens>"
    paths = study.views[study.run.view(0)]
    block = next(iter(paths.test))
    count, times, dim = block.states.shape
    assert repr(block) == f"<block of {count} paths, {times} times, {dim} coordinates>"
    assert repr(study.report()).startswith("<report on small, ")
    for value in (paths, study.plot(layer=0)):
        assert len(repr(value).splitlines()) == 1
        assert "tensor" not in repr(value)


def test_a_recording_prints_its_model_and_layers():
    recording = sdelens.capture("tiny", ["The sea was calm."], layers="2,5")
    assert repr(recording) == "<recording of tiny, L02, L05, 128 coordinates>"
    assert repr(recording.view(5)) == "<paths at block5, in 1 shard>"
    assert repr(recording.view(5).select([0])) == "<paths of 1 document at block5, in 1 shard>"
