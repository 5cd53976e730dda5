"""Global state of numpy and torch: random numbers, default type, threads, modes, hooks."""

from typing import Any

import numpy as np
import torch
from torch.nn.modules import module

from sdelens.containment.part import Part, same_objects

BACKENDS = (
    (torch.backends.cudnn, ("enabled", "benchmark", "deterministic", "allow_tf32")),
    (
        torch.backends.cuda.matmul,
        (
            "allow_tf32",
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        ),
    ),
    (torch.utils.deterministic, ("fill_uninitialized_memory",)),
)
"""Flags of torch that are attributes."""
ATTENTION = ("flash", "mem_efficient", "math", "cudnn")
"""Kernels of scaled dot-product attention that can be switched off."""
_entered: list[Any] = []
"""Inference modes that were entered to restore the mode before."""


def _numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return (name, keys.tobytes(), *rest)  # type: ignore[union-attr]


def _set_numpy_random(before: tuple[Any, ...]) -> None:
    name, keys, *rest = before
    np.random.set_state((name, np.frombuffer(keys, np.uint32), *rest))


def _torch_random() -> list[torch.Tensor]:
    started = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = torch.cuda.get_rng_state_all() if started else []
    return [torch.random.get_rng_state(), *devices]


def _set_torch_random(before: list[torch.Tensor]) -> None:
    torch.random.set_rng_state(before[0])
    if len(before) > 1:
        torch.cuda.set_rng_state_all(before[1:])


def _same_tensors(now: list[torch.Tensor], before: list[torch.Tensor]) -> bool:
    # a device may have been started since
    return all(torch.equal(one, other) for one, other in zip(now, before, strict=False))


def _modes() -> tuple[bool, ...]:
    devices = ("cpu", "cuda")
    cast = [torch.is_autocast_enabled(device) for device in devices]
    return (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), *cast)


def _set_modes(before: tuple[bool, ...]) -> None:
    grad, inference, cpu, cuda = before
    if torch.is_inference_mode_enabled() != inference:
        _entered.append(torch.inference_mode(inference))
        _entered[-1].__enter__()
    torch.set_grad_enabled(grad)
    torch.set_autocast_enabled("cpu", cpu)
    torch.set_autocast_enabled("cuda", cuda)


def _flags() -> list[Any]:
    return [getattr(owner, name) for owner, names in BACKENDS for name in names]


def _set_flags(before: list[Any]) -> None:
    pairs = [(owner, name) for owner, names in BACKENDS for name in names]
    for (owner, name), value in zip(pairs, before, strict=True):
        if getattr(owner, name) != value:
            setattr(owner, name, value)


def _deterministic() -> tuple[bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def _set_deterministic(before: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _attention() -> list[bool]:
    return [getattr(torch.backends.cuda, f"{name}_sdp_enabled")() for name in ATTENTION]


def _set_attention(before: list[bool]) -> None:
    for name, value in zip(ATTENTION, before, strict=True):
        getattr(torch.backends.cuda, f"enable_{name}_sdp")(value)


def _flushes_denormals() -> bool:
    """Whether this thread rounds denormal numbers to zero, which torch does not report."""
    return float(torch.full((1,), 1e-310, dtype=torch.float64, device="cpu") * 1.0) == 0.0


def _hooks() -> dict[str, Any]:
    """Hooks on all modules, flattened to the single hook."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if name.startswith("_global") and isinstance(value, dict):
            found |= {f"{name} {key}": hook for key, hook in value.items()}
    return found


def _set_hooks(before: dict[str, Any]) -> None:
    for name, value in vars(module).items():
        if name.startswith("_global") and isinstance(value, dict):
            for key in [key for key in value if f"{name} {key}" not in before]:
                del value[key]


def _printing() -> tuple[Any, ...]:
    return np.get_printoptions(), np.geterr(), dict(vars(torch._tensor_str.PRINT_OPTS))


def _set_printing(before: tuple[Any, ...]) -> None:
    np.set_printoptions(**before[0])
    np.seterr(**before[1])
    vars(torch._tensor_str.PRINT_OPTS).update(before[2])


NUMERICAL = (
    Part("the random numbers of numpy", _numpy_random, _set_numpy_random),
    Part("the random numbers of torch", _torch_random, _set_torch_random, _same_tensors),
    Part("torch's default type", torch.get_default_dtype, torch.set_default_dtype),
    Part(
        "torch's default device",
        torch.get_default_device,
        lambda device: torch.set_default_device(None if device.type == "cpu" else device),
    ),
    Part("the number of threads", torch.get_num_threads, torch.set_num_threads),
    Part("the gradient mode", _modes, _set_modes),
    Part("torch's deterministic algorithms", _deterministic, _set_deterministic),
    Part(
        "the precision of products",
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    Part("flags of torch's backends", _flags, _set_flags),
    Part("the kernels of attention", _attention, _set_attention),
    Part("denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    Part("anomaly detection", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    Part("hooks of all modules", _hooks, _set_hooks, same_objects),
    Part("how numbers are printed", _printing, _set_printing),
)
