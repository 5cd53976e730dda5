"""Two runs of one model on the same texts, without and with a hook."""

import math

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.runs.comparison import comparison
from sdelens.runs.run import Run
from tests.small import sentences

TEXTS = sentences(120)
LAYER = 1


@pytest.fixture(scope="module")
def studies(folder, tokenizer):
    """Fits without a hook, under hooks on the fitted block, and under one before it."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lens = sdelens.attach(model, tokenizer=tokenizer)

    def shift(module, args, out):
        return out + vector

    def double(module, args, out):
        return 2 * out

    def watch(module, args, out):
        return None

    vector = torch.linspace(-3, 3, 16)
    hooks = {"none": (), "shift": (1, shift), "double": (1, double), "again": (1, double)}
    hooks |= {"watch": (1, watch), "early": (0, shift)}
    found = {}
    for name, hook in hooks.items():
        handle = model.transformer.h[hook[0]].register_forward_hook(hook[1]) if hook else None
        found[name] = lens.fit(TEXTS, layers=LAYER, probe="linear", seed=0)
        if handle:
            handle.remove()
    found["other texts"] = lens.fit([f"9{text}" for text in TEXTS], layers=1, probe="linear")
    found["other seed"] = lens.fit(TEXTS, layers=1, probe="linear", seed=1)
    found["other layer"] = lens.fit(TEXTS, layers=2, probe="linear", seed=0)
    return found


def changes(one, other):
    finding = sdelens.compare(one, other)
    return finding, {each.name: each.value for each in finding.estimates}


@pytest.mark.parametrize("name", ["shift", "watch"])
def test_a_constant_vector_or_nothing_changes_nothing(studies, name):
    finding, found = changes(studies["none"], studies[name])
    assert finding.headline == "No change of drift, noise, gain is detected."
    assert found == pytest.approx({"drift": 0, "noise": 0, "gain": 0}, abs=1e-4)


def test_doubled_states_have_twice_the_drift_and_noise(studies):
    finding, found = changes(studies["none"], studies["double"])
    expected = {"drift": math.log(2), "noise": math.log(2), "gain": 0}
    assert found == pytest.approx(expected, abs=1e-4)
    assert finding.headline.startswith("Drift is 2.00 times as large, and noise is 2.00 times")
    assert "hooks none there, double at transformer.h.1 here" in finding.reading


def test_two_equal_hooks_have_equal_states(studies):
    _, found = changes(studies["double"], studies["again"])
    assert found == {"drift": 0, "noise": 0, "gain": 0}


def test_an_intervention_before_the_layer_has_intervals_that_flip_with_the_runs(studies):
    there, back = (
        sdelens.compare(*pair)
        for pair in (
            (studies["none"], studies["early"]),
            (studies["early"], studies["none"]),
        )
    )
    for name in ("drift", "noise", "gain"):
        low, value, high = (
            float(there.arrays[f"{name}.{end}"]) for end in ("low", "value", "high")
        )
        assert low < value < high
        assert float(back.arrays[f"{name}.low"]) == pytest.approx(-high, rel=1e-6)
        assert float(back.arrays[f"{name}.high"]) == pytest.approx(-low, rel=1e-6)
    assert abs(there.estimates[0].value) > 1e-3
    documents = there.arrays["documents.unit"]
    assert there.arrays["documents.change"].shape == (3, len(documents))
    assert documents.tolist() == sorted(studies["none"].run.split.test)
    assert there.figures[0].svg().lstrip().startswith("<")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("other texts", "other texts"),
        ("other seed", "other held-out documents"),
        ("other layer", "no layer 2 in small-L1"),
    ],
)
def test_runs_without_common_documents_are_refused_with_what_differs(studies, name, why):
    with pytest.raises(UsageError, match=rf"cannot be paired by document \(.*{why}"):
        sdelens.compare(studies["none"], studies[name])


def test_the_page_says_what_differs_and_compares_the_interventions(studies, tmp_path):
    runs = [studies[name].run for name in ("none", "early", "double", "watch", "other texts")]
    report = comparison(runs, tmp_path)
    [table] = report.tables
    cells = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    gains = [row["gain over the first run"] for row in cells]
    # neither of two runs under other hooks is said to gain over the other
    assert gains[:3] == ["", "other states", "other states"]
    assert float(gains[3].split()[0]) == pytest.approx(0, abs=1e-6)
    assert gains[4] == "other states"
    assert [row["differs from the first run in"] for row in cells] == [
        "",
        "hooks none there, shift at transformer.h.0 here",
        "hooks none there, double at transformer.h.1 here",
        "hooks none there, watch at transformer.h.1 here",
        "other texts",
    ]
    compared = [
        (f.analyzer, place) for f, place in zip(report.findings, report.places, strict=True)
    ]
    assert compared == [
        ("compare", f"compare/{run.folder.name}/L01") for run in (runs[1], runs[2])
    ]
    assert report.labels[0] == f"{runs[1].folder.name} against {runs[0].folder.name}, L01"
    assert any("L01: Drift is 2.00 times" in sentence for sentence in report.verdict)
    assert report.failures == {}
    assert (tmp_path / compared[0][1] / "finding.json").exists()
    assert (tmp_path / compared[0][1] / "figures").is_dir()


def test_a_page_without_the_states_of_a_run_says_so_and_has_the_rest(studies, tmp_path):
    runs = [studies["none"].run, Run(studies["early"].save(tmp_path / "early", states=False))]
    report = comparison(runs, tmp_path / "page")
    assert "save the run with states=True" in report.failures["compare early L01"]
    assert report.tables[0].rows[1][-3:-1] == (
        "states not available",
        "hooks none there, shift at transformer.h.0 here",
    )
    assert report.findings == ()


def test_saved_runs_are_compared_by_their_folders_and_on_the_command_line(studies, tmp_path):
    from typer.testing import CliRunner

    from sdelens_cli.commands import app

    names = ("none", "double")
    places = [studies[name].save(tmp_path / name, states=True) for name in names]
    finding = sdelens.compare(*places)
    assert finding.estimates[0].value == pytest.approx(math.log(2), abs=1e-4)
    done = CliRunner().invoke(app, ["compare", *map(str, places), "--out", str(tmp_path / "page")])
    assert done.exit_code == 0, done.output
    assert "double against none, L01: Drift is 2.00 times as large" in done.output
    page = (tmp_path / "page" / "report.html").read_text(encoding="utf-8")
    assert "Drift is 2.00 times as large" in page
    with pytest.raises(UsageError, match="is not a run"):
        sdelens.compare(places[0], tmp_path)
