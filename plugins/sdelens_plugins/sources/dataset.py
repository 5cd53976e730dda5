"""Texts from a dataset on the hub, or in a local folder, through `datasets`."""

from collections.abc import Iterator
from dataclasses import dataclass

from sdelens_plugins.sources.rows import columns_of, documents_of_rows

from sdelens.documents import Document
from sdelens.errors import UnknownName, Unreachable, UsageError
from sdelens.protocols import LanguageModel


@dataclass(frozen=True)
class DatasetSource:
    """Documents from the rows of one split of a dataset."""

    name: str
    split: str = "train"
    column: str | None = None
    documents_wanted: int = 512
    length: int = 200
    offline: bool = False

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        rows = self._rows()
        return documents_of_rows(
            rows,
            columns_of(rows.column_names, self.column, self.name),
            model,
            documents=self.documents_wanted,
            length=self.length,
            seed=seed,
        )

    def _rows(self):  # type: ignore[no-untyped-def]  # datasets ships no types
        from datasets import DownloadConfig, load_dataset
        from datasets.exceptions import DatasetNotFoundError

        how = DownloadConfig(local_files_only=self.offline)
        try:
            rows = load_dataset(self.name, split=self.split, download_config=how)
        except DatasetNotFoundError as error:
            raise UnknownName(
                f"no dataset named {self.name!r} on the hub or in a folder here: {error}"
            ) from error
        except ConnectionError as error:
            raise Unreachable(
                f"the dataset {self.name} is not in the local cache and the hub cannot be reached: "
                "give --texts FILE, or nothing to sample texts from the model"
            ) from error
        except ValueError as error:
            raise UsageError(f"{self.name}, split {self.split!r}: {error}") from error
        return rows.shuffle(seed=0).select(range(min(len(rows), 20 * self.documents_wanted)))
