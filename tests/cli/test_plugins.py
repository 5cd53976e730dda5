"""`sdelens plugins` and `--plugin FILE`."""

import json
import re
import shutil
from hashlib import sha256

import pytest

from sdelens.errors import BrokenPlugin, SdelensError, UnknownName, UsageError
from sdelens.registry import forget, installed, registered
from sdelens_cli.commands import app

SPEED = '''
from dataclasses import dataclass
from typing import ClassVar

import sdelens
from sdelens.report import Estimate, Finding


@sdelens.analyzer("speed")
@dataclass(frozen=True)
class SpeedAnalyzer:
    """How far states move."""

    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    factor: float = 1.0

    def analyze(self, study, *, seed):
        view, viewed = study.single
        moved = [float(block.flat().following.norm()) for block in viewed.test]
        return Finding(str(view), "Fast.", "Or not.", (Estimate("speed", sum(moved)),))
'''
WALK = '''
from dataclasses import dataclass

import sdelens
from sdelens.paths.documents import Document
from sdelens.states.capturing import encode_document
from sdelens_plugins.probes.constant import ConstantProbe


@sdelens.probe("walk")
@dataclass(frozen=True)
class Walk(ConstantProbe):
    """A random walk."""


@sdelens.source("counting")
@dataclass(frozen=True)
class Counting:
    """Texts that count."""

    documents_wanted: int = 12

    def documents(self, model, *, seed):
        for number in range(self.documents_wanted):
            text = f"{number} and {number + 1} cats and a dog"
            yield Document(tuple(encode_document(model, text)))


@sdelens.reporter("headline")
@dataclass(frozen=True)
class Headline:
    """The title."""

    def render(self, report, folder):
        file = folder / "headline.txt"
        file.write_text(report.title)
        return file
'''


@pytest.fixture(autouse=True)
def own_session():
    """What a test registers is gone after it."""
    before = registered()
    yield
    forget(before)


@pytest.fixture
def files(tmp_path):
    """Two files with plugins."""
    for name, text in {"speed": SPEED, "walk": WALK}.items():
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def call(capsys, *words):
    app([str(word) for word in words], standalone_mode=False)
    return capsys.readouterr().out


def plugins_of(run):
    rows = json.loads((run / "manifest.json").read_text())["plugins"]
    return {(row["kind"], row["name"]): row for row in rows}


def test_a_run_is_made_asked_and_told_by_plugins_in_files(capsys, files, model, monkeypatch):
    monkeypatch.setenv("SDELENS_CACHE", str(files / "cache"))
    run, file = files / "run", files / "walk.py"
    words = ("--plugin", file, "--probe", "walk", "--source", "counting", "--out", run, "-q")
    call(capsys, "fit", "--model", model, "--layer", 1, *words)
    call(capsys, "analyze", run, "speed", "--plugin", file, "--plugin", files / "speed.py", "-q")
    shown = call(capsys, "report", run, "--plugin", file, "--reporter", "headline")
    assert shown.strip() == str(run / "headline.txt")
    assert "walk SDE" in (run / "headline.txt").read_text()
    used, digest = plugins_of(run), sha256(file.read_bytes()).hexdigest()
    for key in (("probe", "walk"), ("source", "counting"), ("reporter", "headline")):
        row = used[key]
        assert (row["distribution"], row["version"], row["sha256"]) == ("walk.py", "file", digest)
    assert used["analyzer", "speed"]["distribution"] == "speed.py"
    assert used["reporter", "figures"]["distribution"] == "sdelens"
    forget({})
    with pytest.raises(UnknownName, match=r"the probe 'walk' of walk\.py file, which is not"):
        call(capsys, "analyze", run, "losses")


def test_what_was_used_twice_stands_once(capsys, files, finished):
    run = files / "copy"
    shutil.copytree(finished, run)
    for _ in range(2):
        call(capsys, "analyze", run, "speed", "--plugin", files / "speed.py", "-q")
    rows = json.loads((run / "manifest.json").read_text())["plugins"]
    assert [row["name"] for row in rows].count("speed") == 1


def test_a_name_that_two_claim_is_told_in_the_list_and_stops_nothing_else(
    capsys, tmp_path, monkeypatch
):
    for name in ("tea", "coffee"):
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[sdelens.probes]\nbrew = json:loads\n")
    monkeypatch.syspath_prepend(tmp_path)
    installed.cache_clear()
    try:
        (line,) = [x for x in call(capsys, "plugins", "list").splitlines() if "brew" in x]
        assert "two distributions claim the probe 'brew', coffee and tea" in line
        with pytest.raises(UsageError, match="coffee and tea"):
            call(capsys, "fit", "--probe", "brew")
        assert "neural" in call(capsys, "plugins", "info", "neural")
    finally:
        installed.cache_clear()


def test_info_says_whose_a_plugin_is_and_what_can_be_set(capsys, files):
    shown = call(capsys, "plugins", "info", "speed", "--plugin", files / "speed.py")
    for part in ("analyzer speed: speed.py file, api 1", "How far states move.", "scope     view"):
        assert part in shown
    assert "--set speed.factor=1.0  (float)" in shown
    told = json.loads(call(capsys, "plugins", "info", "linear", "--json"))["plugins"]
    assert {"name": "ridge", "type": "float | None", "default": None} in told[0]["settings"]
    assert told[0]["densities"] == ["discrete", "exact"]


def test_list_and_info_know_noise_families_and_check_says_that_it_does_not(capsys, tmp_path, root):
    page = (root / "docs" / "plugins.md").read_text()
    example = re.search(r"<!-- example: blocks.py -->\n```python\n(.*?)```", page, re.DOTALL)[1]
    file = tmp_path / "blocks.py"
    file.write_text(example)
    assert "noise     blocks" in call(capsys, "plugins", "list", "--plugin", file)
    shown = call(capsys, "plugins", "info", "blocks", "--plugin", file)
    assert "noise blocks: blocks.py file, api 1" in shown
    assert "--set probe.noise=blocks:K" in shown
    with pytest.raises(UsageError, match=r"but .*blocks\.py is a noise plugin"):
        call(capsys, "plugins", "check", file)


def test_every_built_in_has_its_info(capsys):
    rows = json.loads(call(capsys, "plugins", "list", "--json"))["plugins"]
    for name in {row["name"] for row in rows if row["kind"] != "model"}:
        assert name in call(capsys, "plugins", "info", name)


def test_check_lists_the_promises_that_a_plugin_breaks(capsys, files):
    with pytest.raises(BrokenPlugin) as raised:
        call(capsys, "plugins", "check", files / "speed.py")
    assert "NaN in the states was not refused" in str(raised.value)
    assert raised.value.exit_code == 6


def test_check_takes_a_name_and_settings(capsys):
    done = call(
        capsys, "plugins", "check", "constant", "--set", "probe.noise=full", "--no-recovery"
    )
    assert done.strip() == "probe constant passes all checks"


WRONG = {
    "html": ((), "plugins check supports source, probe, analyzer plugins, but html is a reporter"),
    "linear": (("--set", "probe.rigde=1"), "'ridge'"),
    "losses": (("--set", "probe.ridge=1"), "--set probe.* names no checked plugin"),
}


@pytest.mark.parametrize("name", WRONG)
def test_check_refuses_what_it_cannot_do(capsys, name):
    words, said = WRONG[name]
    with pytest.raises(SdelensError) as raised:
        call(capsys, "plugins", "check", name, *words)
    assert said in str(raised.value)


def test_new_overwrites_nothing(capsys, tmp_path):
    words = ("plugins", "new", "speed", "--kind", "probe", "--out", tmp_path)
    shown = call(capsys, *words).split()
    assert {line.rpartition("/")[2] for line in shown} == {
        "sdelens_speed.py",
        "test_sdelens_speed.py",
        "pyproject.toml",
        "README.md",
    }
    with pytest.raises(UsageError, match=r"sdelens_speed\.py exists"):
        call(capsys, *words)
