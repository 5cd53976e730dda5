"""Texts from a file: .txt, .jsonl, .json, .csv or .parquet."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas
from sdelens_plugins.sources.rows import columns_of, documents_of_rows

from sdelens.documents import Document
from sdelens.errors import UsageError
from sdelens.protocols import LanguageModel

KINDS = (".txt", ".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class FileSource:
    """Documents from rows of a table, or from the paragraphs of a plain text.

    In a ``.txt`` documents are separated by blank lines, or are lines where there is no blank one.
    """

    path: str
    column: str | None = None
    documents_wanted: int = 512
    length: int = 200

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        table = read_table(Path(self.path))
        columns = columns_of(map(str, table.columns), self.column, self.path)
        return documents_of_rows(
            table.to_dict("records"),
            columns,
            model,
            documents=self.documents_wanted,
            length=self.length,
            seed=seed,
        )


def read_table(path: Path) -> pandas.DataFrame:
    """Rows and columns of a file; an error that says what is wrong with it."""
    if not path.is_file():
        raise UsageError(f"{path} is not a file: --texts expects one of {', '.join(KINDS)}")
    if path.suffix not in KINDS:
        raise UsageError(f"{path} must be one of {', '.join(KINDS)}, got {path.suffix!r}")
    if path.stat().st_size == 0:
        raise UsageError(f"{path} is empty: there is no text to read")
    try:
        table = _read(path)
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as {path.suffix}: {error}") from error
    if table.empty:
        raise UsageError(f"{path} holds no rows: there is no text to read")
    return table


def _read(path: Path) -> pandas.DataFrame:
    if path.suffix == ".txt":
        text = path.read_text(encoding="utf-8")
        parts = text.split("\n\n") if "\n\n" in text.strip() else text.splitlines()
        texts = [part.strip() for part in parts if part.strip()]
        return pandas.DataFrame({"text": texts})
    if path.suffix == ".csv":
        return pandas.read_csv(path)
    if path.suffix == ".parquet":
        return pandas.read_parquet(path)
    return pandas.read_json(path, lines=path.suffix == ".jsonl")
