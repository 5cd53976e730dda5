"""Options for the texts of a fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sdelens.errors import UsageError

SAMPLING = (
    *("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "ignore_eos"),
    *("system", "answers"),
)
"""Settings of sampled texts only."""


ROWS = {
    "split": "--split",
    "config": "--dataset-config",
    "revision": "--dataset-revision",
    "stream": "--stream",
}
"""Settings of datasets, and their options."""


@dataclass(frozen=True)
class TextOptions:
    """Options for the source of texts."""

    texts: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A .txt, .jsonl, .json, .csv, .tsv or .parquet file."
        ),
    ] = None
    prompts: Annotated[
        str | None,
        typer.Option(
            help="A file or a dataset of prompts, which the model answers. "
            "[300 questions, if it has a chat template]"
        ),
    ] = None
    system: Annotated[str | None, typer.Option(help="System prompt of the chat template.")] = None
    no_template: Annotated[
        bool, typer.Option("--no-template", help="Do not use the chat template of the model.")
    ] = False
    answers: Annotated[
        int | None, typer.Option(min=1, help="Number of answers to each prompt. [1]")
    ] = None
    dataset: Annotated[
        str | None, typer.Option(help="A dataset on the hub, or a local folder.")
    ] = None
    split: Annotated[str | None, typer.Option(help="Split of the dataset. [train]")] = None
    dataset_config: Annotated[
        str | None, typer.Option(help="Configuration of the dataset, if it has several.")
    ] = None
    dataset_revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the dataset.")
    ] = None
    stream: Annotated[
        str | None,
        typer.Option(
            help="first or shuffle: stream rows without downloading the whole dataset. [no]"
        ),
    ] = None
    column: Annotated[str | None, typer.Option(help="Column that contains the texts.")] = None
    documents: Annotated[int | None, typer.Option(min=10, help="Number of texts. [512]")] = None
    length: Annotated[
        int | None,
        typer.Option(min=2, help="Tokens per document, after BOS. [200, or the context]"),
    ] = None
    temperature: Annotated[float | None, typer.Option(help="Sampling temperature. [1.0]")] = None
    top_p: Annotated[float | None, typer.Option(help="Nucleus sampling probability. [1.0]")] = None
    top_k: Annotated[
        int | None, typer.Option(help="Sample among the k most likely tokens. [0: all]")
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(help="Minimum probability, relative to the most likely token. [0.0]"),
    ] = None
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Penalty on tokens that have already occurred. [1.0]")
    ] = None
    ignore_eos: Annotated[
        bool, typer.Option("--ignore-eos", help="Never sample the end-of-text token.")
    ] = False

    def source(self, name: str | None = None, *, offline: bool = False) -> dict[str, Any]:
        """The source plugin and its settings, as in `Job`.

        Raises `UsageError` for options that cannot be combined.
        """
        settings = {
            "split": self.split,
            "config": self.dataset_config,
            "revision": self.dataset_revision,
            "stream": self.stream,
            "column": self.column,
            "documents_wanted": self.documents,
            "length": self.length,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k,
            "min_p": self.min_p,
            "repetition_penalty": self.repetition_penalty,
            "ignore_eos": self.ignore_eos or None,
            "prompts": self._prompts(),
            "system": self.system,
            "template": False if self.no_template else None,
            "answers": self.answers,
            "offline": offline or None,
        }
        chosen = {key: value for key, value in settings.items() if value is not None}
        self._check(name, chosen)
        if self.dataset:
            return {"source": "dataset", "source_settings": {"name": self.dataset} | chosen}
        if self.prompts:
            return {"source": "sampled", "source_settings": chosen}
        chosen.pop("offline", None)
        if self.texts:
            path = str(self.texts.resolve())
            return {"source": "file", "source_settings": {"path": path} | chosen}
        if name:
            return {"source": name, "source_settings": chosen}
        return {"source_settings": chosen} if chosen else {}

    def _prompts(self) -> str | None:
        """The full path of a file of prompts, so that the job can be repeated from anywhere."""
        if self.prompts and Path(self.prompts).is_file():
            return str(Path(self.prompts).resolve())
        return self.prompts

    def _check(self, name: str | None, chosen: dict[str, Any]) -> None:
        for option, value in (("dataset", self.dataset), ("source", name), *chosen.items()):
            if value == "":
                raise UsageError(f"--{option} is empty: give a value, or leave it out")
        read = self.texts or self.dataset
        sources = {
            "--source": name,
            "--texts": self.texts,
            "--dataset": self.dataset,
            "--prompts": self.prompts,
        }
        given = [option for option, value in sources.items() if value]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} cannot be combined: give one of them")
        sampling = {name for name in SAMPLING if name in chosen}
        if read and sampling:
            option = sorted(sampling)[0].replace("_", "-")
            raise UsageError(
                f"--{option} applies to sampled texts only: remove it, or --texts and --dataset"
            )
        for setting, option in ROWS.items():
            if not (self.dataset or self.prompts or name) and setting in chosen:
                raise UsageError(f"{option} applies to datasets only: give --dataset too")
        if not (read or self.prompts or name) and "column" in chosen:
            raise UsageError(
                "--column applies to files and datasets only: give --texts, --dataset or --prompts"
            )
