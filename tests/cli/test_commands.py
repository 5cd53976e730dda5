"""What the command line alone can answer, without torch; reports and analyses."""

import json
import os
import shutil

import pytest

LIGHT = {
    # arguments: exit code, what is said
    "--help": (0, "Fit stochastic differential equations"),
    "--version": (0, "0."),
    "fit --help": (0, "--skip-first"),
    "plugins list": (0, "neural"),
    "plugins new Speed": (2, "lower-case words"),
    "plugins info nueral": (3, "'neural'"),
    "plugins check nowhere.py": (2, "no such file"),
    "plugins check nueral": (3, "'neural'"),
    "fit --layer foo": (2, "--layer must be"),
    "fit --layer 5-2": (2, "--layer must be"),
    "fit --texts {texts} --dataset wikitext": (2, "cannot be combined"),
    "fit --texts {texts} --source sampled": (2, "--source and --texts cannot be combined"),
    "fit --source smapled": (3, "'sampled'"),
    "fit --plugin nowhere.py": (2, "no such file"),
    "fit --texts {texts} --temperature 0.5": (2, "--temperature applies to sampled texts only"),
    "fit --texts nowhere.txt": (2, "nowhere.txt"),
    "fit --column story": (2, "--column"),
    "fit --split test": (2, "--split"),
    "fit --documents 3": (2, "--documents"),
    "fit --basis pca": (2, "basis must be"),
    "fit --center middle": (2, "center must be"),
    "fit --dtype int8": (2, "--dtype must be"),
    "fit --device tpu": (2, "--device must be"),
    "fit --set width=3": (2, "probe.width=256"),
    "fit --set analyzer.x=3": (2, "--set accepts"),
    "fit --probe nueral": (3, "'neural'"),
    "fit --config nowhere.json": (2, "config.json"),
    "fit --config {texts}": (2, "not JSON"),
    "fit --frobnicate": (2, "--frobnicate"),
    "analyze nowhere": (2, "not a run"),
    "report nowhere": (2, "not a run"),
    "analyze {run} --analyzer loses": (3, "'losses'"),
    "analyze {run} --analyzer losses --set trajectory.x=1": (2, "was not requested"),
    "report {run} --reporter htlm": (3, "'html'"),
}


@pytest.mark.parametrize("arguments", LIGHT)
def test_it_answers_without_importing_torch(process, environment, finished, texts, arguments):
    code, said = LIGHT[arguments]
    words = arguments.format(texts=texts, run=finished).split()
    answer = process(*words, PYTHONPROFILEIMPORTTIME="1")
    imported = [line for line in answer.stderr.splitlines() if line.startswith("import time:")]
    modules = {line.rpartition("|")[2].strip() for line in imported}
    plain = "\n".join(line for line in answer.stderr.splitlines() if line not in imported)
    assert answer.returncode == code, plain
    assert said in answer.stdout + " ".join(plain.split())
    assert "Traceback" not in plain
    assert "typer" in modules
    assert not modules & {
        "torch",
        "transformers",
        "numpy",
        "pandas",
        "matplotlib",
        "rich.progress",
    }


def test_plugins_list_as_json_is_one_object(sdelens):
    answer = sdelens("plugins", "list", "--json")
    rows = json.loads(answer.stdout)["plugins"]
    assert {"kind", "name", "distribution", "version", "entry_point", "problem"} == set(rows[0])
    assert {("probe", "neural"), ("analyzer", "losses")} <= {(r["kind"], r["name"]) for r in rows}


def test_a_config_that_is_no_job_is_refused(sdelens, tmp_path):
    for number, (text, code) in enumerate(
        [("[1]", 2), ('{"n_layer": 3}', 3), ('{"seed": "a"}', 2)]
    ):
        file = tmp_path / f"{number}.json"
        file.write_text(text)
        answer = sdelens("fit", "--config", file)
        assert answer.returncode == code, answer.stderr
        assert "Traceback" not in answer.stderr


@pytest.mark.parametrize("name", ["pipe", "folder", "/dev/zero"])
def test_a_config_that_never_ends_is_refused_at_once(process, tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    answer = process("fit", "--config", tmp_path / name)
    assert answer.returncode == 2, answer.stderr
    assert "is not a file" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_report_makes_the_analyses_that_it_needs(sdelens, finished, only, tmp_path):
    only("losses", "trajectory", "verdict")
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    answer = sdelens("report", run)
    assert answer.returncode == 0, answer.stderr
    page = (run / "report.html").read_text()
    assert answer.stdout.strip() == str(run / "report.html")
    assert "Held-out scores" in page
    for analyzer in ("losses", "trajectory", "verdict"):
        assert any(run.glob(f"analysis/{analyzer}/*/finding.json"))
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_an_unfinished_run_has_nothing_to_report(sdelens, finished, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(finished / "manifest.json", run)
    answer = sdelens("report", run)
    assert answer.returncode == 2
    assert "no finished fit" in answer.stderr
