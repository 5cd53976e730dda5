"""Texts from a file: .txt, .jsonl, .json, .csv or .parquet."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sdelens.errors import UsageError
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens_plugins.sources.rows import Columns, columns_of, documents_of_rows

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class FileSource:
    """Documents from rows of a table, or from the paragraphs of a plain text.

    Documents in a ``.txt`` are separated by blank lines; without any, each line is a document.
    """

    path: str
    column: str | None = None
    documents_wanted: int = 512
    length: int = 200

    def check_input(self) -> None:
        """Raise `UsageError` if the file has no such column, or cannot be read."""
        self._columns()

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        columns, rows = self._columns(), self.__dict__.pop("_rows")
        return documents_of_rows(
            rows,
            columns,
            model,
            documents=self.documents_wanted,
            length=self.length,
            seed=seed,
        )

    @cached_property
    def _rows(self) -> Rows:
        """The rows, read once and held until they are documents."""
        return read_rows(Path(self.path))

    def _columns(self) -> Columns:
        names = dict.fromkeys(name for row in self._rows for name in row)
        return columns_of(names, self.column, self.path)


def read_rows(path: Path) -> Rows:
    """Rows of a file by column; raises `UsageError` if it cannot be read."""
    kind, known = path.suffix.lower(), ", ".join(READERS)
    if not path.is_file():
        raise UsageError(f"{path} is not a file: --texts expects one of {known}")
    if kind not in READERS:
        raise UsageError(f"{path} must be one of {known}, got {kind!r}: convert or rename it")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty: there is no text to read")
    try:
        rows = READERS[kind](path)
    except (ValueError, OSError) as error:  # what json, pandas and pyarrow raise are ValueErrors
        raise UsageError(f"{path} cannot be read as {kind}: {error}") from error
    if not rows:
        raise UsageError(f"{path} contains no rows: give a file with texts")
    return rows


def _txt(path: Path) -> Rows:
    text = path.read_text(encoding="utf-8-sig").strip()
    parts = re.split(r"\n\s*\n", text)
    texts = parts if len(parts) > 1 else text.splitlines()
    return [{"text": part.strip()} for part in texts if part.strip()]


def _jsonl(path: Path) -> Rows:
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    return _objects([json.loads(line) for line in lines if line.strip()])


def _json(path: Path) -> Rows:
    return _objects(json.loads(path.read_text(encoding="utf-8-sig")))


def _objects(values: Any) -> Rows:
    """Rows from a list of objects or texts."""
    if not isinstance(values, list):
        raise ValueError(f"expected a list of objects, got a {type(values).__name__}")
    rows = [{"text": value} if isinstance(value, str) else value for value in values]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("expected objects or texts, got a list of something else")
    return rows


def _csv(path: Path) -> Rows:
    import pandas  # heavy

    # "NA" is a word here, and an empty cell is an empty text
    table = pandas.read_csv(path, keep_default_na=False)
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _parquet(path: Path) -> Rows:
    from pyarrow import parquet  # type: ignore[import-untyped]

    rows: Rows = parquet.read_table(path).to_pylist()
    return rows


READERS: dict[str, Callable[[Path], Rows]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
