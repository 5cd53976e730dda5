"""What may be done to a model between its checkpoint and its use: adapter, rounding, devices."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdelens.errors import UsageError
from sdelens.store import checksum
from sdelens_plugins.models.library_errors import as_usage_error

EXTRAS = {"peft": "adapters", "torchao": "quantised", "accelerate": "device-map"}
"""The extra of sdelens with each library."""
WEIGHTS = "adapter_model.safetensors"
GROUP = 32
"""Values that share a scale in int4."""


def with_adapter(model: Any, folder: str) -> tuple[Any, str]:
    """A model with a PEFT adapter merged into it, and the name of the adapter.

    The adapter is a local folder that `save_pretrained` of PEFT wrote, with safetensors.
    """
    place = Path(folder)
    for file in ("adapter_config.json", WEIGHTS):
        if not (place / file).is_file():
            raise UsageError(
                f"--adapter {folder} has no {file}: give a folder that save_pretrained of PEFT "
                "wrote, with safetensors"
            )
    _require("peft")
    from peft import PeftModel

    with as_usage_error(f"the adapter {place.name} does not fit {type(model).__name__}"):
        merged = PeftModel.from_pretrained(model, str(place), local_files_only=True)
        whole = merged.merge_and_unload()
    return whole, f"adapter {place.resolve().name} {checksum(place / WEIGHTS)[:8]}"


def rounded(model: nn.Module, kind: str) -> nn.Module:
    """The model with its linear layers' weights rounded to ``int8`` or ``int4`` by torchao."""
    _require("torchao")
    from torchao.quantization import (
        Int4WeightOnlyConfig,
        Int8WeightOnlyConfig,
        IntxWeightOnlyConfig,
        PerGroup,
        quantize_,
    )

    config: Any = Int8WeightOnlyConfig()
    if kind == "int4" and next(model.parameters()).device.type == "cuda":
        config = Int4WeightOnlyConfig(group_size=GROUP)
    elif kind == "int4":
        config = IntxWeightOnlyConfig(
            weight_dtype=vars(torch)["int4"], granularity=PerGroup(GROUP)
        )
    with as_usage_error(f"torchao does not round these weights to {kind} on this device"):
        quantize_(model, config)
    return model


def spread(model: Any) -> Any:
    """The model spread over all devices by accelerate, the CPU last."""
    _require("accelerate")
    from accelerate import dispatch_model, infer_auto_device_map

    whole = [*(model._no_split_modules or ())]
    places = infer_auto_device_map(model, no_split_module_classes=whole, dtype=model.dtype)
    if len({*places.values()}) == 1:
        return model.to(next(iter(places.values())))
    return dispatch_model(model, places)


def _require(library: str) -> None:
    """Raise `UsageError` if a library is not installed."""
    if find_spec(library) is None:
        raise UsageError(f"this needs {library}: pip install 'sdelens[{EXTRAS[library]}]'")


def resolved_dtype(dtype: str, stored: torch.dtype | None) -> torch.dtype:
    """The type of the weights; ``auto`` is that of the checkpoint."""
    if dtype == "auto":
        return stored or torch.float32
    if dtype not in DTYPES:
        raise UsageError(f"dtype must be {', '.join(DTYPES)} or auto; got {dtype!r}")
    return DTYPES[dtype]


DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
