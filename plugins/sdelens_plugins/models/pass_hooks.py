"""Hearing the forward passes that a user runs, whatever runs them: a call, `generate`, a loop."""

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
"""What libraries call the key-value cache that a pass, or its first block, is given."""
FIRST = "the first"
"""No name of a parameter."""


@dataclass(eq=False)
class PassListener:
    """One pass while it runs."""

    ids: Tensor | None = None
    reads: dict[Site, Tensor] = field(default_factory=dict)
    mask: Any = None
    cache: Any = None
    before: int = 0
    known: bool = True
    """Whether the cache says how much it holds."""

    def given(self, kwargs: Mapping[str, Any]) -> None:
        """What the pass is told besides its ids."""
        self.mask = kwargs.get("attention_mask")
        self.cache = next((kwargs[name] for name in CACHES if kwargs.get(name) is not None), None)
        found = columns_in(self.cache)  # now: the pass adds to it
        self.before, self.known = found or 0, found is not None

    def told(self, sites: int, out: Any, filling: int | None) -> ForwardRecord | str:
        """What was heard, or why that cannot be told."""
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
    """Which ids are no padding: as the mask says, else all but what fills up the end."""
    if mask is not None:
        return mask[:, -ids.shape[1] :].bool().cpu()
    if filling is None:
        return torch.ones_like(ids, dtype=torch.bool)
    later = (ids != filling).flip(1).cummax(1).values.flip(1)
    later[:, 0] = True  # one that is filled from its start is nothing but its first token
    return later


def columns_in(cache: Any) -> int | None:
    """How many columns a key-value cache, or one block's, holds; None where it does not say."""
    if cache is None:
        return 0
    if hasattr(cache, "past_keys"):  # of TransformerLens
        return int(cache.past_keys.shape[1])
    try:
        return int(cache.get_seq_length())
    except (AttributeError, ValueError, TypeError):  # of a state-space model, say
        return None


@dataclass(eq=False)
class PassHooks:
    """Hooks that only look, set anew for each pass, so that they come after the user's own."""

    reader: nn.Module
    """The module inside that is given the token ids."""
    modules: Mapping[Site, nn.Module]
    heard: Callable[[ForwardRecord], None]
    left_out: Callable[[str], None]
    filling: int | None = None
    now: PassListener = field(default_factory=PassListener)
    handles: list[RemovableHandle] = field(default_factory=list)

    def begin(self) -> None:
        """A pass begins; one that was interrupted is forgotten."""
        self.stop()
        self.now = PassListener()
        self.handles.append(self.reader.register_forward_pre_hook(self._read))
        for site, module in self.modules.items():
            self.handles.append(module.register_forward_hook(self._at(site)))

    def end(self, out: Any) -> None:
        """A pass has ended, with nothing if it failed."""
        if self.handles and out is not None:
            told = self.now.told(len(self.modules), out, self.filling)
            self.left_out(told) if isinstance(told, str) else self.heard(told)
        self.stop()

    def stop(self) -> None:
        """Remove the hooks, and let go of what was read."""
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
            # a copy: what comes later may write into it
            self.now.reads[site] = value.detach().to("cpu", torch.float32, copy=True)

        return hook


def by_name(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """What a call gives, by the names of its parameters, and the first of it as `FIRST`."""
    try:
        names = list(signature(module.forward).parameters)
    except (TypeError, ValueError):  # of compiled code, say
        names = []
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    first = args[0] if args else given.get(names[0]) if names else None
    return given | {FIRST: first}


@contextmanager
def listening(root: nn.Module, ear: PassHooks) -> Iterator[None]:
    """Hear each call of `root`, which is given ids, mask and cache."""

    def begin(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> None:
        named = by_name(module, args, kwargs)
        ear.begin()
        ear.now.given(named)
        if module is ear.reader:  # whose own hooks of this pass have been called already
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
    """Hear passes whose root is not called as a module: from the ids to the last block."""

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
    """Hooks for the time of a block, removed on any exit with those of a pass that goes on."""
    handles: list[RemovableHandle] = []
    try:
        yield handles
    finally:
        ear.stop()
        for handle in handles:
            handle.remove()
