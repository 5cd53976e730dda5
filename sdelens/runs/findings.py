"""Findings on disk: arrays.safetensors, and finding.json, which marks them as complete."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from sdelens.digest import digest
from sdelens.json_text import parsed
from sdelens.report import (
    Dose,
    DoseSeries,
    Estimate,
    Figure,
    Finding,
    Layer,
    Panel,
    StatePath,
    Strip,
)
from sdelens.schema import checked, damaged, instance
from sdelens.store import file_digest, read_json, read_tensors, write_json, write_tensors
from sdelens.summary import Check, Summary

TYPES = {
    kind.__name__: kind
    for kind in (
        *(Check, Dose, DoseSeries, Estimate, Figure, Finding, Layer, Panel),
        *(StatePath, Strip, Summary),
    )
}
"""The only classes that a file may name."""
VALUE, ARRAYS = "finding.json", "arrays.safetensors"
SEAL = "$sealed"
"""The key of the digest of both files."""
INPUTS = "$inputs"
"""The key of the digest of what determines the finding."""


def save_finding(finding: Finding, folder: Path, inputs: str | None = None) -> None:
    """Write a finding; finding.json is removed first and written last.

    `inputs` is the digest of what determines it, if it is known.
    """
    value, tensors = packed(finding)
    (folder / VALUE).unlink(missing_ok=True)
    write_tensors(folder / ARRAYS, tensors)
    write_value(value | ({} if inputs is None else {INPUTS: inputs}), folder)


def write_value(value: dict[str, Any], folder: Path) -> None:
    """Write finding.json with the digest of the finding."""
    value = {key: item for key, item in value.items() if key != SEAL}
    write_json(folder / VALUE, value | {SEAL: _digest(value, folder)})


def packed(finding: Finding) -> tuple[Any, dict[str, Tensor]]:
    """A finding as JSON, and its tensors by their path in it."""
    tensors: dict[str, Tensor] = {}
    return _packed(finding, "", tensors), tensors


def load_finding(folder: Path) -> Finding:
    """Load a saved finding; raises `UsageError` for files that are not as they were written."""
    value, file = read_json(folder / VALUE), folder / VALUE
    reader = _Reader(file, read_tensors(folder / ARRAYS))
    if not isinstance(value, dict) or value.get("$type") != "Finding":
        damaged(file, "$type", "must be 'Finding'")
    sealed = value.pop(SEAL, None)
    own = {key: item for key, item in value.items() if key != INPUTS}
    found: Finding = checked(Finding, reader.unpacked(own, ""), file)
    # findings of earlier versions have no digest
    if sealed is not None and sealed != _digest(value, folder):
        damaged(file, SEAL, f"must be the digest of this file and {ARRAYS}, which differs")
    return found


def inputs_of_saved(folder: Path) -> str | None:
    """The digest of what determined a saved finding; None if it is not known."""
    value = read_json(folder / VALUE)
    return value.get(INPUTS) if isinstance(value, dict) else None


def require_readable(finding: Finding) -> None:
    """Write and read a finding in memory; raises `Damaged` if it could not be read again."""
    value, tensors = packed(finding)
    written = json.dumps(value, allow_nan=False)
    arrays = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
    reader = _Reader(Path(VALUE), load(arrays))
    checked(Finding, reader.unpacked(parsed(written), ""), reader.file)


def _digest(value: Any, folder: Path) -> str:
    return digest([value, file_digest(folder / ARRAYS)])


def _packed(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """JSON without the tensors, which are collected under their paths.

    Keys with a dollar sign are reserved, so arrays may have any name; JSON has no NaN.
    """
    if isinstance(value, Tensor):
        tensors[path] = value.detach().clone()  # safetensors refuses shared memory
        return {"$tensor": path}
    if is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in fields(value)}
        return {"$type": type(value).__name__} | _packed(items, path, tensors)
    if isinstance(value, Mapping):
        return {k: _packed(v, _under(path, k), tensors) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_packed(v, _under(path, i), tensors) for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def _under(path: str, key: object) -> str:
    return f"{path}.{key}".lstrip(".")


@dataclass(frozen=True, eq=False)
class _Reader:
    """The inverse of `_packed`, for one file."""

    file: Path
    tensors: Mapping[str, Tensor]

    def unpacked(self, value: Any, path: str) -> Any:
        if isinstance(value, list):
            return tuple(self.unpacked(v, _under(path, i)) for i, v in enumerate(value))
        if not isinstance(value, dict):
            return value
        if "$tensor" in value:
            return self._known(value["$tensor"], self.tensors, f"a tensor of {ARRAYS}", path)
        if "$float" in value:
            infinite = {str(number): number for number in (math.nan, math.inf, -math.inf)}
            return self._known(value["$float"], infinite, "nan, inf or -inf", path)
        items = {k: self.unpacked(v, _under(path, k)) for k, v in value.items() if k != "$type"}
        if "$type" not in value:
            return items
        kind = self._known(value["$type"], TYPES, f"a type out of {', '.join(TYPES)}", path)
        try:
            return instance(kind)(items)
        except ValueError as error:
            damaged(self.file, path, str(error))

    def _known(self, name: Any, known: Mapping[str, Any], what: str, path: str) -> Any:
        if not isinstance(name, str) or name not in known:
            damaged(self.file, path, f"must be {what}", name)
        return known[name]
