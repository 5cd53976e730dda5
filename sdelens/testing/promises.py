"""Runs conformance checks, and detects changes of the model, the data or the random state."""

import json
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from hashlib import sha256
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module

from sdelens.fitting.study import Study
from sdelens.interfaces import api_of, problems_of
from sdelens.protocols import LanguageModel
from sdelens.registry import API
from sdelens.settings import build, described

Trial = TypeVar("Trial")
HALF = (torch.bfloat16, torch.float16)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
POINT_HOOKS = ("fwd_hooks", "bwd_hooks")
"""Additional hook lists of transformer_lens hook points."""
GLOBAL_HOOKS = tuple(f"_global{name}" for name in HOOKS)


def require_kept(
    plugin: object, kind: str, promises: Sequence[Callable[[Trial], None]], trial: Trial
) -> None:
    """Run all checks and raise an `AssertionError` that lists the violations."""
    broken: dict[str, list[str]] = {}
    for promise in promises:
        try:
            promise(trial)
        except Exception as error:
            name = promise.__name__.replace("_", " ")
            said = f"{type(error).__name__}: {error}{_where(plugin, error)}"
            broken.setdefault(said, []).append(name)
    if broken:
        listed = "\n".join(f"- {'; '.join(names)}: {said}" for said, names in broken.items())
        raise AssertionError(f"{type(plugin).__name__} breaks what {kind} promises:\n{listed}")


def _where(plugin: object, error: Exception) -> str:
    """The last line of the plugin's own file in the traceback of an error."""
    file = getattr(sys.modules.get(type(plugin).__module__), "__file__", None)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return f" ({file}, line {lines[-1]})" if file and lines else ""


def require_settings(plugin: Any, kind: str) -> None:
    """Require all declared members, and a frozen dataclass whose fields survive JSON."""
    lacking = list(problems_of(plugin, kind))
    assert not lacking, f"it {'; it '.join(lacking)}"
    assert is_dataclass(plugin), "a dataclass is needed"
    parameters: Any = getattr(type(plugin), "__dataclass_params__", None)
    assert parameters.frozen, "frozen=True is needed"
    assert api_of(plugin) == API, f"this sdelens has api {API}"
    settings = described(plugin)
    for name, value in settings.items():
        assert isinstance(value, str | int | float | None), f"{name} is a {type(value).__name__}"
    again = json.loads(json.dumps(settings, allow_nan=False))
    assert build(type(plugin), again, "plugin") == plugin, (
        "settings do not survive a round trip through JSON"
    )


def random_state() -> tuple[bytes, bytes, int, str]:
    """Random state of torch, numpy and Python (the last without draws by beartype)."""
    numbers: Any = np.random.get_state()
    own = "" if "beartype" in sys.modules else str(random.getstate())
    return torch.random.get_rng_state().numpy().tobytes(), numbers[1].tobytes(), numbers[2], own


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """sha256 of names, dtypes, shapes and bytes."""
    total = sha256()
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        exact = tensor.float() if tensor.dtype in HALF else tensor  # numpy has no bfloat16
        total.update(exact.detach().cpu().numpy().tobytes())
    return total.hexdigest()


def state_of_model(model: LanguageModel | None) -> dict[str, str]:
    """Weights, buffers, flags and hooks of a model's modules, and torch's global hooks."""
    parts = list(_parts(model)) if model else []
    inside = [module for part in parts for module in part.modules()]
    weights = {f"{k} {n}": w for k, part in enumerate(parts) for n, w in part.named_parameters()}
    buffers = {f"{k} {n}": b for k, part in enumerate(parts) for n, b in part.named_buffers()}
    flags = [(m.training, *(p.requires_grad for p in m.parameters(recurse=False))) for m in inside]
    return {
        "the model's weights": digest_of(weights),
        "the model's buffers": digest_of(buffers),
        "whether the model trains": str(flags),
        "the model's hooks": str([_hooks(m) for m in inside]),
        "torch's hooks of all modules": str([list(getattr(module, n)) for n in GLOBAL_HOOKS]),
    }


def _hooks(one: nn.Module) -> list[list[int]]:
    """Hooks of a module: torch's by number, those of hook points by identity."""
    points = (getattr(one, name, ()) for name in POINT_HOOKS)
    return [*(list(getattr(one, name)) for name in HOOKS), *([id(h) for h in p] for p in points)]


def _parts(model: LanguageModel) -> Iterator[nn.Module]:
    """The modules that an adapter holds, directly or indirectly."""
    for part in vars(model).values():
        if isinstance(part, nn.Module):
            yield part
        elif isinstance(part, LanguageModel):
            yield from _parts(part)


def state_of_study(study: Study) -> dict[str, str]:
    """State of everything that is passed to an analyzer."""
    found = {"the documents": study.documents.digest()} | state_of_model(study.model)
    for view, viewed in study.views.items():
        fitted = viewed.fitted
        laws = enumerate((fitted.law, *fitted.members))
        fit = {f"{k} {name}": t for k, law in laws for name, t in law.tensors().items()}
        found[f"the fit of {view}"] = digest_of(fit | fitted.basis.tensors())
        sides = {"train": viewed.train, "validation": viewed.validation, "test": viewed.test}
        for side, paths in sides.items():
            blocks = enumerate(paths)
            named = {f"{k} {n}": t for k, block in blocks for n, t in vars(block).items()}
            found[f"the {side} paths of {view}"] = digest_of(named)
    return found


class Untouched:
    """Context manager that raises `AssertionError` if the block changed shared state."""

    def __init__(self, state: Callable[[], Mapping[str, str]]) -> None:
        self.state = state

    def __enter__(self) -> None:
        self.before, self.random = self.state(), random_state()
        self.modes = (torch.get_default_dtype(), torch.is_grad_enabled())

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        assert random_state() == self.random, "a global random state was used: use seeds.generator"
        modes = (torch.get_default_dtype(), torch.is_grad_enabled())
        assert modes == self.modes, "torch's default type or gradient mode changed"
        after = self.state()
        changed = [name for name, value in self.before.items() if after[name] != value]
        assert not changed, f"{' and '.join(changed)} changed"
