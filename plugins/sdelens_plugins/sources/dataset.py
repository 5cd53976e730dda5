"""Texts from a dataset on the hub or in a local folder, loaded by `datasets`."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from sdelens.errors import (
    SdelensError,
    UnknownName,
    Unreachable,
    UsageError,
    disk_is_full,
    ran_out,
)
from sdelens.paths.documents import Document
from sdelens.protocols import LanguageModel
from sdelens_plugins.sources.rows import Columns, columns_of, documents_of_rows

BUFFER = 10_000
"""Rows from which a shuffled stream draws the next one."""
SPARE = 20
"""Rows that are read at most for each wanted document, because some may be empty."""


@dataclass(frozen=True)
class DatasetSource:
    """Documents from the rows of one split of a dataset.

    With `stream`, rows are read while they are needed, without fetching the whole split: its
    first ones, or rows drawn from a buffer that moves through it.
    """

    name: str
    split: str = "train"
    column: str | None = None
    documents_wanted: int = 512
    length: int = 200
    template: bool = True
    config: str | None = None
    revision: str | None = None
    stream: Literal["no", "first", "shuffle"] = "no"
    offline: bool = False

    def check_input(self) -> None:
        """Raise an error unless the dataset has this split and column."""
        self._columns()

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        return documents_of_rows(
            self.rows(),
            self._columns(),
            model,
            documents=self.documents_wanted,
            length=self.length,
            seed=seed if self.stream == "no" else None,
            template=self.template,
        )

    def rows(self) -> Iterator[Mapping[str, Any]]:
        """More rows than are wanted, in random order unless the first are streamed."""
        with self._reading():
            yield from islice(self._table[1], SPARE * self.documents_wanted)

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        return self._table[0]

    def _columns(self) -> Columns:
        return columns_of(self.names, self.column, self.name)

    @cached_property
    def _table(self) -> tuple[list[str], Iterable[Mapping[str, Any]]]:
        """The names of the columns, and the rows."""
        from datasets import load_dataset

        local = Path(self.name).exists()
        reachable = local or (not self.offline and hub_answers(self.name))
        with self._reading(), nullcontext() if reachable else hub_offline():
            rows: Any = load_dataset(
                self.name,
                self.config,
                split=self.split,
                revision=self.revision,
                streaming=self.stream != "no",
            )
            if self.stream == "no":
                rows = rows.shuffle(seed=0)
            elif self.stream == "shuffle":
                rows = rows.shuffle(seed=0, buffer_size=BUFFER)
            return rows.column_names or list(next(iter(rows), {})), rows

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Errors of libraries and damaged files in one sentence."""
        from datasets.exceptions import DatasetNotFoundError

        try:
            yield
        except SdelensError:
            raise
        except (DatasetNotFoundError, FileNotFoundError) as error:
            kind = Unreachable if "gated" in str(error) else UnknownName
            how = "accept its terms and set HF_TOKEN" if kind is Unreachable else "check the name"
            raise kind(
                f"no dataset named {self.name!r} on the hub or in a folder here ({error}): {how}"
            ) from error
        except ConnectionError as error:
            why = "--offline was given" if self.offline else "the hub cannot be reached"
            raise Unreachable(
                f"the dataset {self.name} is not in the local cache and {why}: give --texts FILE, "
                "or nothing to sample texts from the model"
            ) from error
        except Exception as error:  # of several libraries, for damaged files
            if ran_out(error) or disk_is_full(error):
                raise
            last = error.__cause__ or error
            said = " ".join(str(last).split())
            how = ": choose one with --dataset-config" if "Config name is missing" in said else ""
            raise UsageError(
                f"{self.name}, split {self.split!r}, cannot be read "
                f"({type(last).__name__}: {said}){how}"
            ) from error


def hub_answers(name: str) -> bool:
    """Whether the hub is reachable, checked first because `datasets` retries for a long time."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().dataset_info(name, timeout=10)
    except (HfHubHTTPError, ValueError):  # the hub has answered; loading will report what is wrong
        return True
    except Exception:  # exception types differ between versions of its HTTP library
        return False
    return True


@contextmanager
def hub_offline() -> Iterator[None]:
    """Use only cached data; the environment variable itself is read only on import."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
