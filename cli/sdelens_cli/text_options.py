"""Options for the texts of a fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sdelens.errors import UsageError


@dataclass(frozen=True)
class TextOptions:
    """Options for the source of texts."""

    texts: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A .txt, .jsonl, .json, .csv or .parquet file."
        ),
    ] = None
    dataset: Annotated[
        str | None, typer.Option(help="A dataset on the hub, or a local folder.")
    ] = None
    split: Annotated[str | None, typer.Option(help="Split of the dataset. [train]")] = None
    column: Annotated[str | None, typer.Option(help="The column of the texts.")] = None
    documents: Annotated[int | None, typer.Option(min=10, help="How many texts. [512]")] = None
    length: Annotated[
        int | None,
        typer.Option(min=2, help="Tokens per document, after BOS. [200, or the context]"),
    ] = None
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature. [1.0]")] = None
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling probability. [1.0]")] = None
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Exclude the end-of-text token while sampling.")
    ] = False

    def source(self, name: str | None = None, *, offline: bool = False) -> dict[str, Any]:
        """The source plugin and its settings, as in `Job`.

        Raises `UsageError` for options that cannot be combined.
        """
        settings = {
            "split": self.split,
            "column": self.column,
            "documents_wanted": self.documents,
            "length": self.length,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "ignore_eos": self.ignore_eos or None,
            "offline": offline or None,
        }
        chosen = {key: value for key, value in settings.items() if value is not None}
        self._check(name, chosen)
        if self.dataset:
            return {"source": "dataset", "source_settings": {"name": self.dataset} | chosen}
        chosen.pop("offline", None)
        if self.texts:
            path = str(self.texts.resolve())
            return {"source": "file", "source_settings": {"path": path} | chosen}
        if name:
            return {"source": name, "source_settings": chosen}
        return {"source_settings": chosen} if chosen else {}

    def _check(self, name: str | None, chosen: dict[str, Any]) -> None:
        for option, value in (("dataset", self.dataset), ("source", name), *chosen.items()):
            if value == "":
                raise UsageError(f"--{option} is empty: give a value, or leave it out")
        read = self.texts or self.dataset
        if self.texts and self.dataset:
            raise UsageError("--texts and --dataset cannot be combined: give one of them")
        if name and read:
            other = "--texts" if self.texts else "--dataset"
            raise UsageError(f"--source and {other} cannot be combined: give one of them")
        sampling = {"temperature", "top_p", "ignore_eos"} & set(chosen)
        if read and sampling:
            option = sorted(sampling)[0].replace("_", "-")
            raise UsageError(
                f"--{option} applies to sampled texts only: remove it, or --texts and --dataset"
            )
        if not (self.dataset or name) and "split" in chosen:
            raise UsageError("--split applies to datasets only: give --dataset too")
        if not (read or name) and "column" in chosen:
            raise UsageError(
                "--column applies to files and datasets only: give --texts or --dataset"
            )
