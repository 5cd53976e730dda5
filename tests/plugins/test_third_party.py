"""What a stranger does: distributions from templates and the examples, built, installed and used.

In a clean environment, whose dependencies come from this one; no network.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

KINDS = ("analyzer", "probe", "source")
EXAMPLES = ("curvature", "random_features", "appendix")
CODE = 40
"""Lines of code that a distribution from a template may have, its test included."""


def lines_of_code(folder):
    texts = (file.read_text() for file in folder.glob("*.py"))
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


@pytest.fixture(scope="module")
def environment():
    """One thread, no network; no variable by which this process finds its packages."""
    rest = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_"))}
    return rest | {"OMP_NUM_THREADS": "1", "PIP_NO_INDEX": "1", "HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="module")
def projects(root, tmp_path_factory):
    """The folders of all distributions: three from templates, three examples."""
    from typer.testing import CliRunner

    from sdelens_cli.commands import app

    folder = tmp_path_factory.mktemp("projects")
    for kind in KINDS:
        words = ["plugins", "new", f"my-{kind}", "--kind", kind, "--out", str(folder)]
        made = CliRunner().invoke(app, words)
        assert made.exit_code == 0, made.output
    for name in EXAMPLES:
        shutil.copytree(root / "plugins" / "examples" / name, folder / name)
    return sorted(path for path in folder.iterdir())


@pytest.fixture(scope="module")
def python(projects, environment, tmp_path_factory):
    """A clean environment in which the built wheels are installed."""
    folder = tmp_path_factory.mktemp("clean")
    wheels = folder / "wheels"
    building = [
        subprocess.Popen(
            [sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", wheels, project],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for project in projects
    ]
    for one in building:
        said, _ = one.communicate(timeout=300)
        assert one.returncode == 0, said
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    here = [path for path in sys.path if path and not path.startswith(sys.base_prefix)]
    Path(site, "here.pth").write_text("\n".join(here) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index"]
    wheel_files = sorted(wheels.glob("*.whl"))
    subprocess.run([*pip, "-q", *wheel_files], env=environment, check=True, timeout=300)
    return python


def run(python, environment, *words, cwd, **variables):
    return subprocess.run(
        [python, *map(str, words)],
        env=environment | variables,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=500,
    )


COMMAND = ("-c", "from sdelens_cli.main import main; main()")


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_from_a_template_is_short(projects, kind):
    (folder,) = [p for p in projects if p.name == f"sdelens-my-{kind}"]
    assert lines_of_code(folder) <= CODE


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_one_small_file_a_project_and_a_page(root, name):
    folder = root / "plugins" / "examples" / name
    names = {file.name for file in folder.iterdir() if file.is_file()}
    assert names == {f"sdelens_{name}.py", "pyproject.toml", "README.md"}
    assert lines_of_code(folder) < 100


def test_installed_plugins_are_listed_and_hidden_by_the_environment(python, environment, tmp_path):
    words = (*COMMAND, "plugins", "list", "--json")
    found = json.loads(run(python, environment, *words, cwd=tmp_path).stdout)["plugins"]
    strangers = {(row["name"], row["distribution"]) for row in found} - {
        (row["name"], "sdelens") for row in found
    }
    own = {(f"my-{kind}", f"sdelens-my-{kind}") for kind in KINDS}
    examples = ("curvature", "random-features", "appendix")
    assert strangers == own | {(name, f"sdelens-{name}") for name in examples}
    hidden = run(python, environment, *words, cwd=tmp_path, SDELENS_LOAD_PLUGINS="")
    assert {row["distribution"] for row in json.loads(hidden.stdout)["plugins"]} == {"sdelens"}


EXERCISED = """
import sys
import pytest
from sdelens.interfaces import load
from sdelens.report import Estimate, Finding, Report, Table
from sdelens.testing import check_analyzer, check_probe


def test_the_fixtures_are_there(tiny_bridge, tiny_hf, ou_process, tiny_study):
    assert tiny_hf.config.n_layer == tiny_bridge.card.blocks == 2
    assert ou_process.simulate(3, 5, seed=0).shape == (3, 5, 2)
    assert len(tiny_study.views) == 2


def test_the_curvature_of_known_paths(ou_process, tiny_study):
    check_analyzer(load("analyzer", "curvature")())
    import sdelens_curvature, torch
    from sdelens.paths.trajectories import Trajectories
    noise = torch.randn(50, 40, 400, generator=torch.Generator().manual_seed(0))
    for states, angle in ((noise, 120), (noise.cumsum(1), 90)):
        found = sdelens_curvature.measured(Trajectories.from_states(states, 1.0))
        # of 1,900 angles, each within some 3 degrees of it
        assert abs(float(found["turning angle"].nanmean()) - angle) < 0.5


def test_the_ridge_of_random_features():
    pytest.importorskip("sklearn", reason="the example is made of scikit-learn")
    check_probe(load("probe", "random-features")(features=20))


def test_the_appendix_holds_verdict_scores_and_findings(tmp_path):
    size = Estimate("a|b", 1.5, 0.1, "nats")
    finding = Finding("L00", "It is <big>.", "A mean.", (size,), analyzer="size")
    table = Table("scores", ("mean", "nats"), (("linear", "1.0"),))
    report = Report("a *title*", ("No claim is made.",), (table,), (finding,))
    text = load("reporter", "appendix")().render(report, tmp_path).read_text()
    assert "# a \\\\*title\\\\*" in text
    for part in ("- No claim is made.", "| linear | 1.0 |", "It is &lt;big>."):
        assert part in text
    assert "| a\\\\|b | 1.50 ± 0.10 nats |" in text
"""


def test_generated_tests_pass_and_the_examples_keep_their_promises(
    projects, python, environment, tmp_path
):
    for project in projects:
        for file in project.glob("test_*.py"):
            shutil.copy(file, tmp_path)
    (tmp_path / "test_examples.py").write_text(EXERCISED)
    done = run(
        python, environment, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    skipped = 0 if find_spec("sklearn") else 1
    assert f"{7 - skipped} passed" in done.stdout


def test_a_template_as_one_file_keeps_its_promises_too(environment, tmp_path):
    words = (*COMMAND, "plugins", "new", "mean_step", "--single-file")
    made = run(sys.executable, environment, *words, cwd=tmp_path)
    assert made.stdout.strip() == "mean_step.py"
    words = (*COMMAND, "plugins", "check", "mean_step.py")
    done = run(sys.executable, environment, *words, cwd=tmp_path)
    assert done.stdout.strip() == "analyzer mean_step passes all checks", done.stderr
    again = run(sys.executable, environment, *COMMAND, "plugins", "new", "mean_step", cwd=tmp_path)
    assert again.returncode == 0, "another form of it is another file"
