"""The hash of a plugin covers its folder, wherever that lies."""

import importlib
import shutil
import sys
from hashlib import sha256

import pytest

from sdelens.registry import Plugin, plugin
from sdelens.runs.source_digest import folder_digest, source_digest


def write(folder, files):
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


FILES = {"__init__.py": "", "analyzer.py": "class Mine: ...\n", "maths/sums.py": "ONE = 1\n"}


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """A function that makes a plugin of a package, or of a module that stands alone."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(target, files):
        write(tmp_path, files)
        importlib.invalidate_caches()
        module = target.partition(":")[0]
        for name in [name for name in sys.modules if name.split(".")[0] == module.split(".")[0]]:
            monkeypatch.delitem(sys.modules, name)
        get = lambda: getattr(importlib.import_module(module), "Mine")  # noqa: B009
        return Plugin("analyzer", "mine", "mine", "1", target, get)

    return make


def test_a_changed_sibling_changes_the_hash(imported, tmp_path):
    found = imported("mine_pkg.analyzer:Mine", {f"mine_pkg/{k}": v for k, v in FILES.items()})
    before = source_digest(found)
    (tmp_path / "mine_pkg" / "notes.txt").write_text("no code")
    assert source_digest(found) == before
    (tmp_path / "mine_pkg" / "maths" / "sums.py").write_text("ONE = 2\n")
    assert source_digest(found) not in (before, None)


def test_a_module_that_stands_alone_counts_by_itself(imported, tmp_path):
    found = imported("mine_alone:Mine", {"mine_alone.py": "class Mine: ...\n", "other.py": ""})
    before = sha256((tmp_path / "mine_alone.py").read_bytes()).hexdigest()
    assert source_digest(found) == before
    (tmp_path / "other.py").write_text("x = 1\n")
    assert source_digest(found) == before


def test_the_hash_is_that_of_names_and_contents_alone(tmp_path):
    one = write(tmp_path / "one", FILES)
    other = write(tmp_path / "deep" / "other", dict(reversed(FILES.items())))
    assert folder_digest(one) == folder_digest(other)
    shutil.move(other / "maths" / "sums.py", other / "sums.py")
    assert folder_digest(one) != folder_digest(other), "a renamed file is another one"


def test_an_analyzer_in_a_folder_counts_with_it_and_one_in_a_file_alone(root):
    analyzers = root / "plugins" / "sdelens_plugins" / "analyzers"
    importance = source_digest(plugin("analyzer", "importance"))
    assert importance == folder_digest(analyzers / "importance")
    verdict = source_digest(plugin("analyzer", "verdict"))
    assert verdict == sha256((analyzers / "verdict.py").read_bytes()).hexdigest()


def test_what_was_executed_is_what_was_hashed():
    executed = Plugin("probe", "mine", "mine.py", "file", "x:Mine", lambda: 1 / 0, "abc")
    assert source_digest(executed) == "abc"


def test_a_class_of_a_session_without_a_file_has_no_hash():
    kept = type("Mine", (), {"__module__": "no_such_module"})
    assert source_digest(Plugin("probe", "mine", "session", "", "x:Mine", lambda: kept)) is None
