"""Texts from a file: .txt, .jsonl, .json, .csv, .tsv or .parquet; texts may be .gz or .zst."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from sdelens.errors import UsageError, ran_out
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens_plugins.sources.rows import Columns, columns_of, documents_of_rows

Rows = list[dict[str, Any]]
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
"""Compressions of text files by suffix, as pyarrow names them."""
SEPARATORS, SNIFFED = (",", ";", "\t", "|"), 100
"""Separators of a table, and the lines that are compared to find it."""


@dataclass(frozen=True)
class FileSource:
    """Documents from rows of a table, or from the paragraphs of a plain text.

    Documents in a ``.txt`` are separated by blank lines; without any, each line is a document.
    """

    path: str
    column: str | None = None
    documents_wanted: int = 512
    length: int = 200
    template: bool = True

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
            template=self.template,
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
    kind, known = kind_of(path), ", ".join(READERS)
    if not path.is_file():
        raise UsageError(f"{path} is not a file: --texts expects one of {known}")
    if kind not in READERS:
        raise UsageError(f"{path} must be one of {known}, got {kind!r}: convert or rename it")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty: there is no text to read")
    try:
        rows = READERS[kind](path)
    except Exception as error:  # of json, pandas and pyarrow, for damaged files
        if ran_out(error):
            raise
        said = " ".join(str(error).split())
        raise UsageError(f"{path} cannot be read as {kind}: {said}") from error
    if not rows:
        raise UsageError(f"{path} contains no rows: give a file with texts")
    return rows


def kind_of(path: Path) -> str:
    """The suffix that says how a file is read, before that of its compression.

    >>> kind_of(Path("a/texts.v2.JSONL.gz")), kind_of(Path("texts.csv")), kind_of(Path("x.gz"))
    ('.jsonl', '.csv', '.gz')
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return next((kind for kind in reversed(suffixes) if kind not in COMPRESSED), path.suffix)


def _decoded(path: Path) -> str:
    """The text of a file, decompressed; an error names the line that is not UTF-8."""
    import pyarrow  # type: ignore[import-untyped]

    with pyarrow.input_stream(str(path), compression=COMPRESSED.get(path.suffix.lower())) as file:
        content: bytes = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + error.object[: error.start].count(b"\n")
        raise ValueError(
            f"line {line} is not UTF-8 (byte {error.object[error.start]:#x}): convert the file, "
            "as with iconv -f latin1 -t utf-8"
        ) from error


def _lines(path: Path) -> str:
    """The text of a file with the same end for all lines."""
    return re.sub(r"\r\n?", "\n", _decoded(path))


def _txt(path: Path) -> Rows:
    text = _lines(path).strip()
    parts = re.split(r"\n\s*\n", text)
    texts = parts if len(parts) > 1 else text.splitlines()
    return [{"text": part.strip()} for part in texts if part.strip()]


def _jsonl(path: Path) -> Rows:
    numbered = enumerate(_lines(path).split("\n"), start=1)
    return [_row(_parsed(line, f"line {k}"), f"line {k}") for k, line in numbered if line.strip()]


def _json(path: Path) -> Rows:
    values = _parsed(_decoded(path), "the file")
    if not isinstance(values, list):
        raise ValueError(f"expected a list of objects, got a {type(values).__name__}")
    return [_row(value, f"row {number}") for number, value in enumerate(values, start=1)]


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{where} is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{where} is not JSON ({error})") from error


def _row(value: Any, where: str) -> dict[str, Any]:
    """A row from an object, a text or null, which has no text."""
    if isinstance(value, dict):
        return value
    if value is None or isinstance(value, str):
        return {"text": value}
    raise ValueError(f"expected objects or texts, got a {type(value).__name__} in {where}")


def _csv(path: Path) -> Rows:
    import pandas  # heavy

    text = _decoded(path)
    # "NA" is a word here, and an empty cell is an empty text
    table = pandas.read_csv(StringIO(text), sep=separator_of(text), keep_default_na=False)
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def separator_of(text: str) -> str:
    r"""The separator of a table: the one that splits its first lines into equally many cells.

    A comma, semicolon, tab or bar that is alone in the header is the separator.

    >>> separator_of("a;b\n1;x, y\n"), separator_of("text\nx; y\n")
    (';', ',')
    """
    rows = {separator: _cells(text, separator) for separator in SEPARATORS}
    inside = [separator for separator, counts in rows.items() if counts and counts[0] > 1]
    even = [separator for separator in inside if len({*rows[separator]}) == 1]
    return [*even, *inside, ","][0] if len(inside) != 1 else inside[0]


def _cells(text: str, separator: str) -> list[int]:
    """The number of cells in each of the first lines."""
    try:
        read = csv.reader(StringIO(text, newline=""), delimiter=separator)
        return [len(row) for row in islice(read, SNIFFED) if row]
    except csv.Error:
        return []


def _parquet(path: Path) -> Rows:
    from pyarrow import parquet

    rows: Rows = parquet.read_table(path).to_pylist()
    return rows


READERS: dict[str, Callable[[Path], Rows]] = {
    ".txt": _txt,
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}
