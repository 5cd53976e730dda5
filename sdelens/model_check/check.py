"""The check of a model before its states are used; kept by the hash of its weights."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sdelens.digest import digest
from sdelens.errors import SdelensError, UsageError, scarcity, words_of
from sdelens.model_check.row import CheckRow
from sdelens.model_check.states import (
    batching,
    cache,
    causal,
    embedding,
    finite,
    of_library,
    shape,
)
from sdelens.model_check.texts import context, tokenizer
from sdelens.origin import ModelCard
from sdelens.protocols import LanguageModel
from sdelens.seeds import own_random_state
from sdelens.store import cache_folder, read_json, write_json

VERSION = 1
"""Part of the key: increase it when a row changes."""
HOOKED = "not checked, because your hooks are active"
NOT_FINITE = "not checked further, because its states are not finite"
CHECKS: Mapping[str, Callable[[LanguageModel], CheckRow | Iterable[CheckRow]]] = {
    "shape": shape,
    "embedding": embedding,
    "causal": causal,
    "padding and batching": batching,
    "cache": cache,
    "library": of_library,
    "context": context,
    "tokenizer": tokenizer,
}
"""In this order; a model whose blocks have other shapes is not examined further."""


@dataclass(frozen=True)
class ModelCheck:
    """The rows of the check of a model, and the names under which equal weights were checked."""

    rows: tuple[CheckRow, ...]
    names: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[CheckRow, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.passed is False)

    def require_passed(self, card: ModelCard) -> None:
        """Raise `UsageError` with the first row that failed."""
        for row in self.failed:
            raise UsageError(
                f"{card.name} fails the check {row.name!r}: {row.words}. Run sdelens models check "
                "for all of it, or choose another model"
            )

    def json(self) -> list[dict[str, Any]]:
        """The rows for the manifest."""
        return [asdict(row) for row in self.rows]


def model_check(model: LanguageModel) -> ModelCheck:
    """The check of a model, done once for equal weights, dtype, device and libraries."""
    if model.hooked():
        return ModelCheck((CheckRow("all", None, HOOKED),))
    card = model.card
    key = digest([VERSION, card.fingerprint, model.library, card.dtype, *_circumstances(model)])
    file = cache_folder() / "checks" / f"{key[:24]}.json"
    name = f"{card.name}, revision {card.revision}"
    kept = _kept(file) if card.fingerprint else None
    if kept is None or name not in kept.names:
        rows = _rows(model) if kept is None else kept.rows
        kept = ModelCheck(rows, (*(kept.names if kept else ()), name))
        if not kept.failed:  # a model that fails is checked again, perhaps by a corrected row
            with suppress(OSError, SdelensError):  # a cache that is only read
                write_json(file, {"rows": kept.json(), "names": kept.names})
    return ModelCheck((*kept.rows, _duplicates(kept.names, name)), kept.names)


def _circumstances(model: LanguageModel) -> tuple[Any, ...]:
    """What the same weights may behave differently under."""
    card = model.card
    libraries = [version(name) for name in ("torch", "transformers", "transformer-lens")]
    return (model.device.type, card.context, card.bos, card.hook, *libraries)


def _kept(file: Path) -> ModelCheck | None:
    """An earlier check; None if there is none, or if it cannot be read."""
    if not file.is_file():
        return None
    try:
        found = read_json(file)
        rows = tuple(CheckRow(**row) for row in found["rows"])
        return ModelCheck(rows, tuple(map(str, found["names"])))
    except (SdelensError, TypeError, LookupError):
        return None


def _rows(model: LanguageModel) -> tuple[CheckRow, ...]:
    rows: list[CheckRow] = []
    with torch.no_grad(), own_random_state(model.device):
        for name, check in CHECKS.items():
            rows += _rows_of(name, check, model)
            if not rows[0].passed:
                break
            if name == "shape" and not finite(model):
                rows.append(CheckRow("all", None, NOT_FINITE))
                break
    return tuple(rows)


def _rows_of(
    name: str,
    check: Callable[[LanguageModel], CheckRow | Iterable[CheckRow]],
    model: LanguageModel,
) -> list[CheckRow]:
    """The rows of one check; an error of the model is a failed row."""
    try:
        found = check(model)
        return [found] if isinstance(found, CheckRow) else [*found]
    except Exception as error:
        if scarcity(error) is not None:
            raise
        said = str(error) if isinstance(error, SdelensError) else words_of(error)
        return [CheckRow(name, False, " ".join(said.split()))]


def _duplicates(names: tuple[str, ...], own: str) -> CheckRow:
    """Other names and revisions of the same weights."""
    others = [name for name in names if name != own]
    words = f"equal weights were used as {'; '.join(others)}" if others else "none known"
    return CheckRow("duplicates", True, words)
