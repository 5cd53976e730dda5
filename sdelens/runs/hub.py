"""Runs on the hub: a repository with the folder of a run and a model card."""

import re
import shutil
from collections.abc import Callable
from os import PathLike
from pathlib import Path

from sdelens.hub import hub_errors
from sdelens.runs.model_card import model_card
from sdelens.runs.redaction import redact
from sdelens.runs.run import Run
from sdelens.store import write_text
from sdelens.temporary import Temporary

NAME = re.compile(r"[\w.-]+/[\w.-]+")
FILES = ("*.json", "*.jsonl", "*.safetensors", "*/DONE")
"""Files to fetch: values and tensors, nothing executable."""


def on_hub(run: str | PathLike[str]) -> bool:
    """Whether this is the name of a repository and not a local folder."""
    if not isinstance(run, str) or not NAME.fullmatch(run) or Path(run).exists():
        return False
    return not Path(run).parent.is_dir()


def fetched(
    name: str, *, revision: str | None = None, token: str | None = None
) -> tuple[Path, Temporary]:
    """A writable copy of a repository's files, with its temporary folder."""
    from huggingface_hub import snapshot_download

    with hub_errors("run", name, revision=revision, known=lambda: (), otherwise=_cut_off(name)):
        folder = snapshot_download(
            name, revision=revision, token=token, allow_patterns=list(FILES)
        )
    kept = Temporary()
    own = kept.folder / Path(name).name
    shutil.copytree(folder, own)  # links into the cache become files
    return own, kept


def pushed(
    run: Run, name: str, copied: Callable[..., None], *, private: bool, token: str | None
) -> str:
    """Upload the copy written by `copied` with a model card; returns the repository's address.

    Paths of this machine are reduced to file and folder names.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=token)
    kept = Temporary()
    folder = kept.folder / "run"
    # errors of the local disk are not errors of the hub
    copied(run, folder)
    redact(folder, run.folder)
    write_text(folder / "README.md", model_card(Run(folder), name))
    with hub_errors("run", name, revision=None, known=lambda: (), otherwise=_cut_off(name)):
        url = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id,
            folder_path=folder,
            commit_message=f"{run.folder.name} by sdelens",
            delete_patterns=["fits/*", "analysis/*", "states/*", "report.html"],
        )
    kept.remove()
    return str(url)


def _cut_off(name: str) -> Callable[[], str]:
    return lambda: (
        f"{name} is not in the local cache, and the hub cannot be reached or refuses access: give "
        "a folder written by study.save, set HF_TOKEN, or try again with a connection"
    )
