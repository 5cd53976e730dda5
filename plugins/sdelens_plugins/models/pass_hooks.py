"""Records the forward passes of a user's model, from a call, `generate` or a loop."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sdelens.model_protocols import ForwardRecord
from sdelens.protocols import Site

CACHES = ("past_key_values", "past_kv_cache_entry", "cache_params")
"""Parameter names of the key-value cache in different libraries."""
FIRST = "the first"
"""Key of the first argument, which is not the name of a parameter."""


@dataclass(eq=False)
class PassListener:
    """A running forward pass."""

    ids: Tensor | None = None
    reads: dict[Site, Tensor] = field(default_factory=dict)
    mask: Any = None
    cache: Any = None
    before: int = 0
    known: bool = True
    """Whether the cache reports its length."""

    def given(self, kwargs: Mapping[str, Any]) -> None:
        """The other arguments of the pass."""
        self.mask = kwargs.get("attention_mask")
        self.cache = next((kwargs[name] for name in CACHES if kwargs.get(name) is not None), None)
        found = columns_in(self.cache)  # read now, because the pass extends the cache
        self.before, self.known = found or 0, found is not None

    def told(self, sites: int, out: Any, filling: int | None) -> ForwardRecord | str:
        """The recorded pass, or the reason why it cannot be recorded."""
        if self.ids is None or self.ids.ndim != 2:
            return "it was given no token ids [batch, time]"
        if not self.known:
            return "its cache does not say how many positions it holds"
        if len(self.reads) < sites:
            return "it ended before the last of the sites"
        if self.mask is not None and (not isinstance(self.mask, Tensor) or self.mask.ndim != 2):
            return "its attention mask is not [batch, time]"
        came_out = getattr(out, "past_key_values", None)
        return ForwardRecord(
            tokens=self.ids,
            real=real(self.ids, self.mask, filling),
            reads=self.reads,
            before=self.before,
            went_in=self.cache,
            came_out=self.cache if came_out is None else came_out,
        )


def real(ids: Tensor, mask: Tensor | None, filling: int | None) -> Tensor:
    """Which ids are not padding: by the mask, or else all except trailing fill tokens."""
    if mask is not None:
        return mask[:, -ids.shape[1] :].bool().cpu()
    if filling is None:
        return torch.ones_like(ids, dtype=torch.bool)
    later = (ids != filling).flip(1).cummax(1).values.flip(1)
    later[:, 0] = True  # a row of fill tokens only keeps its first token
    return later


def columns_in(cache: Any) -> int | None:
    """Number of columns of a key-value cache, or of one block's; None if unknown."""
    if cache is None:
        return 0
    if hasattr(cache, "past_keys"):  # TransformerLens
        return int(cache.past_keys.shape[1])
    try:
        return int(cache.get_seq_length())
    except (AttributeError, ValueError, TypeError):  # for example a state-space model
        return None


@dataclass(eq=False)
class PassHooks:
    """Read-only hooks, installed anew for each pass so that they run after the user's hooks."""

    reader: nn.Module
    """The submodule that receives the token ids."""
    modules: Mapping[Site, nn.Module]
    heard: Callable[[ForwardRecord], None]
    left_out: Callable[[str], None]
    filling: int | None = None
    now: PassListener = field(default_factory=PassListener)
    handles: list[RemovableHandle] = field(default_factory=list)

    def begin(self) -> None:
        """Start a pass; an interrupted one is discarded."""
        self.stop()
        self.now = PassListener()
        self.handles.append(self.reader.register_forward_pre_hook(self._read))
        for site, module in self.modules.items():
            self.handles.append(module.register_forward_hook(self._at(site)))

    def end(self, out: Any) -> None:
        """End a pass; its output is None if it failed."""
        if self.handles and out is not None:
            told = self.now.told(len(self.modules), out, self.filling)
            self.left_out(told) if isinstance(told, str) else self.heard(told)
        self.stop()

    def stop(self) -> None:
        """Remove the hooks and release the values."""
        while self.handles:
            self.handles.pop().remove()
        self.now = PassListener()

    def read(self, ids: Any) -> None:
        """The token ids of the pass."""
        if isinstance(ids, Tensor) and not ids.is_floating_point():
            self.now.ids = ids.detach().to("cpu", torch.long, copy=True)

    def _read(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        self.read(args[0] if args else None)

    def _at(self, site: Site) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            del module, args
            value = out[0] if isinstance(out, tuple) else out
            # a copy, because later modules may modify it in place
            self.now.reads[site] = value.detach().to("cpu", torch.float32, copy=True)

        return hook


def by_name(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a call by parameter name, and the first one as `FIRST`."""
    try:
        names = list(signature(module.forward).parameters)
    except (TypeError, ValueError):  # for example compiled code
        names = []
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    first = args[0] if args else given.get(names[0]) if names else None
    return given | {FIRST: first}


@contextmanager
def listening(root: nn.Module, ear: PassHooks) -> Iterator[None]:
    """Record each call of `root`, which receives ids, mask and cache."""

    def begin(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        named = by_name(module, args, kwargs)
        ear.begin()
        ear.now.given(named)
        if module is ear.reader:  # the hooks of this pass have already run
            ear.read(named.get("input_ids", named.get(FIRST)))

    def end(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        del module, args, kwargs
        ear.end(out)

    with _hooks(ear) as handles:
        handles.append(root.register_forward_pre_hook(begin, with_kwargs=True))
        handles.append(root.register_forward_hook(end, with_kwargs=True, always_call=True))
        yield


@contextmanager
def listening_inside(blocks: Sequence[nn.Module], ear: PassHooks) -> Iterator[None]:
    """Record passes whose root is not called as a module, from the ids to the last block."""

    def begin(module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        ear.begin()
        ear.read(args[0] if args else None)

    def given(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        ear.now.given(by_name(module, args, kwargs))

    def end(module: nn.Module, args: Any, out: Any) -> None:
        del module, args
        ear.end(out)

    with _hooks(ear) as handles:
        handles.append(ear.reader.register_forward_pre_hook(begin))
        handles.append(blocks[0].register_forward_pre_hook(given, with_kwargs=True))
        handles.append(blocks[-1].register_forward_hook(end, always_call=True))
        yield


@contextmanager
def _hooks(ear: PassHooks) -> Iterator[list[RemovableHandle]]:
    """Hooks for the duration of a `with` block; all are removed on any exit."""
    handles: list[RemovableHandle] = []
    try:
        yield handles
    finally:
        ear.stop()
        for handle in handles:
            handle.remove()
