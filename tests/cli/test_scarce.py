"""Little memory, few open files and no home folder: exit 5, or a clear sentence."""

import pwd
import resource
import subprocess

import pytest

from sdelens.errors import UsageError
from sdelens.store import cache_folder
from tests.small import COMMAND


@pytest.fixture
def limited(environment, job, tmp_path):
    """A fit of a process under a limit."""

    def run(what, amount):
        return subprocess.run(
            [*COMMAND, *map(str, job), "--out", str(tmp_path / "run"), "-q"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            preexec_fn=lambda: resource.setrlimit(what, (amount, amount)),
        )

    return run


def require_said(found):
    """Done, or one sentence with exit code 5."""
    assert found.returncode in (0, 5), found.stderr
    assert "Traceback" not in found.stderr
    if found.returncode == 5:
        assert found.stderr.splitlines()[-1].startswith("Error: ")


def test_too_little_memory_to_import_torch_is_one_sentence(limited):
    found = limited(resource.RLIMIT_AS, 300 * 2**20)
    assert found.returncode == 5
    require_said(found)


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [60, 150, 600, 1000, 1200, 1250, 1300, 1400, 1500, 2000])
def test_any_amount_of_memory_is_enough_or_named(limited, mebibytes):
    require_said(limited(resource.RLIMIT_AS, mebibytes * 2**20))


@pytest.mark.slow
@pytest.mark.parametrize("files", [6, 8, 12, 20])
def test_any_number_of_open_files_is_enough_or_named(limited, files):
    require_said(limited(resource.RLIMIT_NOFILE, files))


def test_a_user_without_a_home_folder_is_told_what_to_set(monkeypatch):
    def nobody(_):
        raise KeyError("no such user")

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME", "SDELENS_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="set SDELENS_CACHE"):
        cache_folder()


def test_a_cache_that_cannot_be_written_is_one_sentence(sdelens, job, tmp_path):
    found = sdelens(*job, "--out", tmp_path / "run", "-q", SDELENS_CACHE="/dev/null/cache")
    assert found.returncode == 2
    [said] = found.stderr.splitlines()
    assert "SDELENS_CACHE" in said
