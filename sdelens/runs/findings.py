"""Findings on disk: finding.json and arrays.safetensors."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sdelens.report import Estimate, Figure, Finding, Layer, Panel, Strip
from sdelens.store import read_json, read_tensors, write_json, write_tensors

TYPES = {kind.__name__: kind for kind in (Estimate, Figure, Finding, Layer, Panel, Strip)}
"""The only classes that a file may name."""


def save_finding(finding: Finding, folder: Path) -> None:
    """Write a finding; finding.json is written last and marks the folder as complete."""
    value, tensors = packed(finding)
    write_tensors(folder / "arrays.safetensors", tensors)
    write_json(folder / "finding.json", value)


def packed(finding: Finding) -> tuple[Any, dict[str, Tensor]]:
    """A finding as JSON, and its tensors by their path in it."""
    tensors: dict[str, Tensor] = {}
    return _packed(finding, "", tensors), tensors


def load_finding(folder: Path) -> Finding:
    """Load a saved finding."""
    tensors = read_tensors(folder / "arrays.safetensors")
    found: Finding = _unpacked(read_json(folder / "finding.json"), tensors)
    return found


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
        return {k: _packed(v, f"{path}.{k}".lstrip("."), tensors) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_packed(v, f"{path}.{i}".lstrip("."), tensors) for i, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": str(value)}
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return tuple(_unpacked(v, tensors) for v in value)
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$float" in value:
        return float(value["$float"])
    items = {k: _unpacked(v, tensors) for k, v in value.items() if k != "$type"}
    return TYPES[value["$type"]](**items) if "$type" in value else items
