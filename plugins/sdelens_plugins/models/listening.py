"""Hearing the forward passes that a user runs, whatever runs them: a call, `generate`, a loop."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sdelens.protocols import Heard, Site

CACHES = ("past_key_values", "past_kv_cache")
"""What libraries call the key-value cache that a pass is given."""


class Hearing:
    """One pass while it runs: hooks that only look, after those of the user at each site."""

    def __init__(
        self,
        reader: nn.Module,
        modules: Mapping[Site, nn.Module],
        args: tuple[Any, ...],
        given: Mapping[str, Any],
    ) -> None:
        self.texts = args[0] if args and isinstance(args[0], list | tuple) else ()
        self.ids: Tensor | None = None
        self.reads: dict[Site, Tensor] = {}
        self.given = given
        self.cache = next((given[name] for name in CACHES if given.get(name) is not None), None)
        self.before = columns_in(self.cache)
        self.handles: list[RemovableHandle] = [
            reader.register_forward_pre_hook(self._read),
            *(module.register_forward_hook(self._at(site)) for site, module in modules.items()),
        ]

    def _read(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        del module
        if args and isinstance(args[0], Tensor) and not args[0].is_floating_point():
            self.ids = args[0].detach().to("cpu", torch.long, copy=True)

    def _at(self, site: Site) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, out: Any) -> None:
            del module, args
            value = out[0] if isinstance(out, tuple) else out
            # a copy: what comes later may write into it
            self.reads[site] = value.detach().to("cpu", torch.float32, copy=True)

        return hook

    def end(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles = []

    def told(self, sites: int, out: Any) -> Heard | str:
        """What was heard, or why that cannot be told."""
        if self.ids is None or self.ids.ndim != 2:
            return "it was given no token ids [batch, time]"
        if len(self.reads) < sites:
            return "it ended before the last of the sites"
        mask = self.given.get("attention_mask")
        if mask is None and len(self.texts) > 1:
            return "it was given several texts, of whose padding nothing is known: give token ids"
        if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
            return "its attention mask is not [batch, time]"
        columns = self.ids.shape[1]
        real = torch.ones_like(self.ids) if mask is None else mask[:, -columns:].cpu()
        came_out = getattr(out, "past_key_values", None)
        return Heard(
            tokens=self.ids,
            real=real.bool(),
            reads=self.reads,
            before=self.before,
            went_in=self.cache,
            came_out=self.cache if came_out is None else came_out,
        )


def columns_in(cache: Any) -> int:
    """How many columns a key-value cache holds."""
    if cache is None:
        return 0
    if hasattr(cache, "get_seq_length"):
        return int(cache.get_seq_length())
    return int(cache[0].past_keys.shape[1])  # of TransformerLens


@contextmanager
def listening(
    root: nn.Module,
    reader: nn.Module,
    modules: Mapping[Site, nn.Module],
    heard: Callable[[Heard], None],
    left_out: Callable[[str], None],
) -> Iterator[None]:
    """Hear each call of `root`; `reader` is the module inside that is given the token ids."""
    running: list[Hearing] = []

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        del module
        stop()  # a pass that was interrupted
        running.append(Hearing(reader, modules, args, kwargs))

    def end(module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        del module, args, kwargs
        if running and out is not None:
            told = running[-1].told(len(modules), out)
            left_out(told) if isinstance(told, str) else heard(told)
        stop()

    def stop() -> None:
        while running:
            running.pop().end()

    handles: list[RemovableHandle] = []
    try:
        handles.append(root.register_forward_pre_hook(begin, with_kwargs=True))
        handles.append(root.register_forward_hook(end, with_kwargs=True, always_call=True))
        yield
    finally:
        stop()
        for handle in handles:
            handle.remove()
