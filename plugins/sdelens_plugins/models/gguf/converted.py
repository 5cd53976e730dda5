"""GGUF files as folders in Hugging Face format: dequantised once, then read from the cache."""

import re
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from sdelens.errors import OutOfMemory, UsageError
from sdelens.store import cache_folder, checksum, read_json, write_json, writing
from sdelens.temporary import Temporary, sweep
from sdelens_plugins.models.library_errors import as_usage_error

VERSION = 1
"""Part of the cache key: increase it when the same file would give another folder."""
ABOUT = "gguf.json"
"""What is known of the file, in its folder; written last."""
LEFTOVER = re.compile(r"\.gguf-[0-9a-f-]+\.tmp")
"""Folders of conversions, which a later one removes if their process was killed."""


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file, and the folder of its values in float32."""

    file: Path
    folder: Path

    @classmethod
    def at(cls, file: Path) -> "GgufFile":
        """The file, by the hash of its bytes; raises `UsageError` if it is not a GGUF file."""
        if not file.is_file():
            raise UsageError(f"{file} does not exist: give a GGUF file, a folder or a name")
        with file.open("rb") as opened:
            if opened.read(4) != b"GGUF":
                raise UsageError(f"{file} is not a GGUF file: it does not begin with GGUF")
        if find_spec("gguf") is None:
            raise UsageError(f"{file.name} needs an extra: pip install 'sdelens[gguf]'")
        key = f"gguf-{VERSION}-{checksum(file)}"
        return cls(file.resolve(), cache_folder() / "models" / key)

    @property
    def converted(self) -> bool:
        """Whether the folder is complete."""
        return (self.folder / ABOUT).is_file()

    @property
    def quantisation(self) -> str:
        """The types of the weights as llama.cpp names them, such as Q4_K_M."""
        if self.converted:
            return str(read_json(self.folder / ABOUT)["quantisation"])
        with one_sentence(self.file):
            return quantisation_of(self.file)

    def convert(self) -> Path:
        """The folder, written on first use."""
        if not self.converted:
            sweep(self.folder.parent, LEFTOVER)
            kept = Temporary(self.folder.with_name(f".{self.folder.name}-{uuid4().hex}.tmp"))
            try:
                with one_sentence(self.file), writing(self.folder):
                    _write(self.file, kept.folder)
                _moved(kept, self.folder)
            except BaseException:
                kept.remove()
                raise
        return self.folder


def _moved(kept: Temporary, folder: Path) -> None:
    """Rename a finished folder, unless another process put one there first."""
    if (folder / ABOUT).is_file():
        kept.remove()
        return
    shutil.rmtree(folder, ignore_errors=True)  # of a conversion that was damaged
    with writing(folder):
        kept.move(folder)


def _write(file: Path, folder: Path) -> None:
    """The model in float32, its tokenizer, and what is known of the file."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    from sdelens_plugins.models.gguf.tokenizer import tokenizer_of
    from sdelens_plugins.models.library_output import quiet

    with quiet(), redirect_stderr(StringIO()):  # a progress bar of its own
        tokenizer = tokenizer_of(file)
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(
            file.parent,
            config=config,
            gguf_file=file.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
        if size > (free := shutil.disk_usage(folder).free):
            raise OutOfMemory(
                f"{file.name} has {size / 2**30:.1f} GiB of values in float32, but the disk of "
                f"{folder.parent} has {free / 2**30:.1f} GiB free: set SDELENS_CACHE to another"
            )
        tokenizer.model_max_length = int(config.get_text_config().max_position_embeddings)
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    write_json(folder / ABOUT, {"file": file.name, "quantisation": quantisation_of(file)})


def quantisation_of(file: Path) -> str:
    """The file type that llama.cpp wrote, without its prefix."""
    from gguf import LlamaFileType

    known: dict[int, str] = {int(kind): str(kind.name) for kind in LlamaFileType}
    found = known.get(metadata_of(file).get("general.file_type", -1), "unknown")
    return found.removeprefix("MOSTLY_").removeprefix("ALL_")


def metadata_of(file: Path) -> Mapping[str, Any]:
    """The settings in the head of a GGUF file, by name."""
    from transformers.integrations.gguf.reader import read_gguf_metadata

    found: Mapping[str, Any]
    found, _ = read_gguf_metadata(str(file))
    return found


def one_sentence(file: Path) -> AbstractContextManager[None]:
    """Whatever the libraries raise for a file that they cannot convert, as a `UsageError`."""
    return as_usage_error(
        f"{file.name} does not load as a causal language model",
        ": expected a whole GGUF file of an architecture that transformers knows",
    )
