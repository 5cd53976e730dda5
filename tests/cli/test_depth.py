"""`sdelens fit --axis layer`: from the command line to a report."""

import json

import pytest


@pytest.fixture(scope="module")
def deep(sdelens, model, tmp_path_factory):
    """The folder of a finished run through the depth, and what `--json` printed."""
    folder = tmp_path_factory.mktemp("runs") / "deep"
    done = sdelens(
        *("fit", "--model", model, "--axis", "layer", "--documents", 40, "--length", 16),
        *("--probe", "linear", "--set", "probe.noise=diagonal@time", "--out", folder, "--json"),
    )
    assert done.returncode == 0, done.stderr
    assert "depth, one path per token" in done.stderr
    return folder, json.loads(done.stdout)


def test_the_fit_lies_in_the_folder_of_the_depth(deep):
    folder, printed = deep
    assert [file.name for file in (folder / "fits").iterdir()] == ["depth"]
    config = json.loads((folder / "fits/depth/config.json").read_text())
    assert config["axis"] == "layer"
    assert json.loads((folder / "config.json").read_text())["axis"] == "layer"
    (scores,) = printed["layers"].values()
    assert list(printed["layers"]) == ["depth"]
    # every token that is scored steps through all three blocks, and documents are the sample
    assert scores["transitions"] % 3 == 0
    assert scores["held_out_documents"] <= 4
    assert scores["new_prefixes"]["transitions"] % 3 == 0
    assert {"random_walk", "iid_position", "token", "linear"} <= set(scores["baselines"])


def test_all_held_out_tokens_are_scored_and_those_after_new_prefixes_apart(deep):
    import torch

    from sdelens.runs.run import Run

    folder, printed = deep
    run = Run(folder)
    lengths = run.documents.lengths[list(run.split.test)]
    tokens = int((lengths - torch.clamp(run.documents.start[0], min=1)).sum())
    scores = printed["layers"]["depth"]
    assert scores["transitions"] == 3 * tokens
    assert scores["new_prefixes"]["transitions"] <= 3 * tokens


def test_the_run_can_be_asked_and_reported(deep):
    from sdelens.runs.run import Run
    from sdelens.runs.run_analyzers import analyze
    from sdelens.runs.run_report import report_of

    run = Run(deep[0])
    (finding,), _ = analyze(run, ["layers"], prompt="the cat sat")
    assert (finding.analyzer, finding.view) == ("layers", "depth")
    report = report_of(run)
    assert "all layers by depth" in report.title
    assert report.provenance["axis"] == "depth, one path per token"
    assert any("Blocks have no step shorter than one" in line for line in report.verdict)
    assert [found.headline for found in report.findings] == [finding.headline]


def test_a_layer_beside_the_axis_is_refused_in_one_sentence(sdelens, model):
    refused = sdelens("fit", "--model", model, "--axis", "layer", "--layer", 1)
    assert refused.returncode == 2
    assert refused.stderr.startswith("Error: --layer cannot be combined with --axis layer")
    assert "remove --layer 1" in refused.stderr
    other = sdelens("fit", "--model", model, "--axis", "time")
    assert other.returncode == 2
    assert "--axis must be token, layer; got 'time'" in other.stderr
