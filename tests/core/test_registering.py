"""Plugins that are files, or classes of this session."""

import linecache
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar

import pytest
import torch

import sdelens
from sdelens.errors import BrokenPlugin, UsageError
from sdelens.registering import load_file
from sdelens.registry import forget, plugin, plugins, registered
from sdelens_plugins.probes.linear import LinearProbe

FILE = """
from dataclasses import dataclass
import sdelens

@sdelens.analyzer("speed")
@dataclass(frozen=True)
class SpeedAnalyzer:
    steps: "int" = {steps}
"""

CELL = """
import torch, sdelens, functools

def loud(method):
    return functools.wraps(method)(torch.no_grad()(method))

@sdelens.analyzer("cell")
class Cell:
    @torch.no_grad()
    def analyze(self, study, *, seed):
        return {number}

    @loud
    def more(self):
        return {number}
"""


@pytest.fixture(autouse=True)
def own_session():
    """What a test registers is gone after it."""
    before = registered()
    yield
    forget(before)


def write(folder, text, name="speed.py"):
    file = folder / name
    file.write_text(text)
    return file


def test_a_class_can_be_used_by_name_as_soon_as_it_is_registered():
    @sdelens.probe("mine")
    @dataclass(frozen=True)
    class Mine(LinearProbe):
        densities: ClassVar[tuple[str, ...]] = ("discrete",)

    states = torch.randn(20, 10, 2, generator=torch.Generator().manual_seed(0))
    fitted = sdelens.fit(states, probe="mine", ridge=0.5)
    assert fitted.record.probe == "mine"
    assert fitted.record.settings["ridge"] == 0.5


def test_a_cell_that_is_run_again_replaces_what_it_registered():
    for steps in (1, 2):

        @sdelens.analyzer("speed")
        @dataclass(frozen=True)
        class Speed:
            length: int = steps

    assert plugin("analyzer", "speed").load()().length == 2
    assert plugin("analyzer", "speed").sha256, "of this file"


def test_a_cell_is_known_by_its_own_text_whatever_decorates_its_methods():
    made = []
    for number in (1, 2):
        text = CELL.format(number=number)
        file = f"<cell {number}>"
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        names = {"__name__": "no_module"}
        exec(compile(text, file, "exec"), names)
        made.append((plugin("analyzer", "cell").sha256, sha256(text.encode()).hexdigest()))
    (first, expected), (second, other) = made
    assert (first, second) == (expected, other)
    assert first != second


@pytest.mark.parametrize("kind", ["probe", "analyzer", "source", "reporter"])
def test_every_kind_has_its_decorator(kind):
    made = getattr(sdelens, kind)("mine")(type("Mine", (), {}))
    assert plugin(kind, "mine").load() is made


def test_the_name_of_a_built_in_is_refused():
    with pytest.raises(UsageError, match="'linear' is the name of a built-in probe"):
        sdelens.probe("linear")(LinearProbe)


def test_a_decorator_without_a_name_says_how_it_is_written():
    # in a process of its own, where no types are checked
    code = "import sdelens\n@sdelens.probe\nclass Mine: ...\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert 'write @sdelens.probe("name")' in done.stderr


def test_a_file_gives_its_plugins_with_the_hash_of_what_was_executed(tmp_path):
    file = write(tmp_path, FILE.format(steps=3))
    (found,) = load_file(file)
    assert (found.kind, found.name, found.distribution) == ("analyzer", "speed", "speed.py")
    assert found.sha256 == sha256(file.read_bytes()).hexdigest()
    assert plugin("analyzer", "speed").load()().steps == 3
    load_file(write(tmp_path, FILE.format(steps=4)))
    assert plugin("analyzer", "speed").load()().steps == 4, "a changed file replaces the old one"


def test_two_files_of_one_name_do_not_meet(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        load_file(write(tmp_path / name, FILE.format(steps=1).replace("speed", name), "plugin.py"))
    assert {"one", "two"} <= set(plugins("analyzer"))


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("x = 1\n", UsageError, "registers no plugin: put @sdelens.analyzer"),
        ("1 / 0\n", BrokenPlugin, "does not load: ZeroDivisionError"),
        ("def f(:\n", BrokenPlugin, "does not load: SyntaxError"),
        ("raise SystemExit(3)\n", BrokenPlugin, "does not load: SystemExit: 3"),
        (FILE.format(steps=1) + "1 / 0\n", BrokenPlugin, "ZeroDivisionError"),
        (FILE.format(steps=1).replace("speed", "losses"), UsageError, "built-in analyzer"),
        (None, UsageError, "there is no such file"),
    ],
)
def test_a_file_that_will_not_do_says_why_and_leaves_nothing(tmp_path, text, kind, said):
    before = registered()
    file = tmp_path / "absent.py" if text is None else write(tmp_path, text)
    with pytest.raises(kind, match=said):
        load_file(file)
    assert registered() == before


def test_a_class_that_is_no_dataclass_is_told_so():
    names = ("densities", "looks_back", "density", "fit", "restore")
    sdelens.probe("bare")(type("Bare", (), {name: getattr(LinearProbe, name) for name in names}))
    with pytest.raises(BrokenPlugin, match="bare is not a dataclass: put @dataclass"):
        sdelens.fit(torch.zeros(20, 5, 1), probe="bare")
