"""Global state of numpy and torch: random numbers, default type, threads, modes, hooks."""

from typing import Any

import numpy as np
import torch
from torch import _C
from torch.nn.modules import module
from torch.utils._device import DeviceContext

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
    (torch.backends.mkldnn, ("enabled", "deterministic", "allow_tf32")),
    (torch.backends.opt_einsum, ("enabled", "strategy")),
    (torch.utils.deterministic, ("fill_uninitialized_memory",)),
)
"""Flags of torch that are attributes."""
_mkldnn: Any = torch.backends.mkldnn
_cudnn: Any = torch.backends.cudnn
PRECISIONS: tuple[Any, ...] = (
    *(torch.backends, _mkldnn, _mkldnn.matmul, _mkldnn.conv, _mkldnn.rnn),
    *(torch.backends.cuda.matmul, _cudnn, _cudnn.conv, _cudnn.rnn),
)
"""Owners of a precision of float32; those that follow another come after it."""
DEVICES = ("cpu", "cuda")
"""Types of devices with automatic mixed precision."""
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
    return torch.is_grad_enabled(), torch.is_inference_mode_enabled()


def _set_modes(before: tuple[bool, ...]) -> None:
    grad, inference = before
    if torch.is_inference_mode_enabled() != inference:
        _entered.append(torch.inference_mode(inference))
        _entered[-1].__enter__()
    torch.set_grad_enabled(grad)


def _autocast() -> tuple[Any, ...]:
    casts = [(torch.is_autocast_enabled(d), torch.get_autocast_dtype(d)) for d in DEVICES]
    return torch.is_autocast_cache_enabled(), casts


def _set_autocast(before: tuple[Any, ...]) -> None:
    cached, casts = before
    for device, (enabled, dtype) in zip(DEVICES, casts, strict=True):
        torch.set_autocast_enabled(device, enabled)
        torch.set_autocast_dtype(device, dtype)
    torch.set_autocast_cache_enabled(cached)
    torch.clear_autocast_cache()


def _precisions() -> tuple[list[str], str | None]:
    """Those of backends, and that of products, which cannot be read if backends differ in it."""
    backends = [owner.fp32_precision for owner in PRECISIONS]
    try:
        return backends, torch.get_float32_matmul_precision()
    except RuntimeError:
        return backends, None


def _set_precisions(before: tuple[list[str], str | None]) -> None:
    backends, products = before
    if products:
        torch.set_float32_matmul_precision(products)
    for owner, value in zip(PRECISIONS, backends, strict=True):
        if owner.fp32_precision != value:
            owner.fp32_precision = value


def _overriding() -> tuple[list[Any], list[Any]]:
    """Modes that were entered and override functions of torch, and its dispatch."""
    functions = [_C._get_function_stack_at(k) for k in range(_C._len_torch_function_stack())]
    dispatches = [_C._get_dispatch_stack_at(k) for k in range(_C._len_torch_dispatch_stack())]
    return [mode for mode in functions if not isinstance(mode, DeviceContext)], dispatches


def _set_overriding(before: tuple[list[Any], list[Any]]) -> None:
    functions, dispatches = before
    now = [_C._pop_torch_function_stack() for _ in range(_C._len_torch_function_stack())]
    default_device = [mode for mode in now if isinstance(mode, DeviceContext)]
    for mode in (*default_device, *functions):
        _C._push_on_torch_function_stack(mode)
    while _C._len_torch_dispatch_stack():
        _C._pop_torch_dispatch_stack()
    for mode in dispatches:
        _C._push_on_torch_dispatch_stack(mode)


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
    Part("modes that override torch", _overriding, _set_overriding),
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
    Part("automatic mixed precision", _autocast, _set_autocast),
    Part("torch's deterministic algorithms", _deterministic, _set_deterministic),
    Part("the precision of products", _precisions, _set_precisions),
    Part("flags of torch's backends", _flags, _set_flags),
    Part("the kernels of attention", _attention, _set_attention),
    Part("denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    Part("anomaly detection", torch.is_anomaly_enabled, torch.set_anomaly_enabled),
    Part("hooks of all modules", _hooks, _set_hooks, same_objects),
    Part("how numbers are printed", _printing, _set_printing),
)
