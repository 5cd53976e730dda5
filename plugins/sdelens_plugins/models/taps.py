"""Hooks that read and edit values at sites during a forward pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from sdelens.protocols import Edit, Site


class Stop(Exception):
    """Raised at the deepest site to end the pass early."""


@dataclass(frozen=True, eq=False)
class Taps:
    """Sites to read and to edit, and whether the pass ends at the deepest."""

    read: Sequence[Site]
    edit: Mapping[Site, Edit]
    stop: bool
    reads: dict[Site, Tensor] = field(default_factory=dict)

    @property
    def sites(self) -> list[Site]:
        """The sites in the order of the forward pass."""
        return sorted({*self.read, *self.edit}, key=_depth)

    def at(self, site: Site, value: Tensor) -> Tensor | None:
        """The replacement of a value; None if it is unchanged."""
        changed = self.edit[site](value) if site in self.edit else None
        if site in self.read:
            self.reads[site] = (value if changed is None else changed).detach()
        if self.stop and self.read and site == max(self.read, key=_depth):
            raise Stop
        return changed

    @contextmanager
    def on_points(self, holder: Any) -> Iterator[None]:
        """TransformerLens hooks for the duration of one pass; the user's hooks remain."""

        def hook_at(site: Site) -> Callable[..., Tensor | None]:
            def hook(value: Tensor, hook: Any) -> Tensor | None:
                del hook  # the point is known
                return self.at(site, value)

            return hook

        names = {site: point(site, holder.hook_dict) for site in self.sites}
        with holder.hooks(fwd_hooks=[(names[site], hook_at(site)) for site in self.sites]):
            yield

    @contextmanager
    def on_modules(self, modules: Mapping[Site, nn.Module]) -> Iterator[None]:
        """Plain forward hooks for the duration of one pass, removed on any exit."""

        def hook_at(site: Site) -> Callable[..., Any]:
            def hook(module: nn.Module, args: Any, out: Any) -> Any:
                del module, args
                value, rest = (out[0], out[1:]) if isinstance(out, tuple) else (out, None)
                changed = self.at(site, value)
                return changed if changed is None or rest is None else (changed, *rest)

            return hook

        handles: list[RemovableHandle] = []
        try:
            for site in self.sites:
                handles.append(modules[site].register_forward_hook(hook_at(site)))
            yield
        finally:
            for handle in handles:
                handle.remove()


def point(site: Site, known: Mapping[str, Any]) -> str:
    """The hook point of a site, under its name in the installed TransformerLens."""
    layer = f"blocks.{site.layer}"
    names = {
        "embed": ("embed.hook_out", "hook_embed"),
        "block": (f"{layer}.hook_out", f"{layer}.hook_resid_post"),
        "attention": (f"{layer}.attn.hook_pattern",),
    }[site.kind]
    return next((name for name in names if name in known), names[0])


def _depth(site: Site) -> tuple[int, int]:
    if site.kind == "embed":
        return (-1, 0)
    return (site.layer, int(site.kind == "block"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the duration of a pass; every module's flag is restored."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True
