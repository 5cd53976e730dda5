"""Any torch module that reads token ids, at one layer named by the user."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sdelens.errors import UnknownName, UsageError
from sdelens.model_protocols import ForwardRecord
from sdelens.origin import ModelCard
from sdelens.protocols import Edit, Pass, Site
from sdelens.seeds import drawing, own_random_state
from sdelens_plugins.models.adapter import Adapter
from sdelens_plugins.models.cards import architecture, context_of, fingerprint_of
from sdelens_plugins.models.pass_hooks import listening
from sdelens_plugins.models.taps import Stop, Taps, evaluating
from sdelens_plugins.models.user_hooks import hooks_in
from sdelens_plugins.models.words import Words

BLOCK = Site("block", 0)


@dataclass(frozen=True, eq=False)
class ModuleModel(Adapter):
    """A causal module called with ids ``[batch, time]``, whose submodule `hook` gives the states.

    That submodule counts as its only block. There is no key-value cache: a continued pass reads
    the whole text again.
    """

    library: ClassVar[str] = "torch"
    model: nn.Module
    words: Words
    card: ModelCard

    @classmethod
    def adapt(
        cls, model: nn.Module, *, tokenizer: Any = None, hook: str | None = None
    ) -> "ModuleModel":
        """Use a module unchanged; `hook` is the name of a submodule."""
        known = dict(model.named_modules())
        if hook is None:
            raise UsageError(
                f"no adapter for a {type(model).__module__}.{type(model).__qualname__}: expected "
                'a name, a folder, a model of a known library, or attach(model, hook="…") with '
                "the name of the submodule whose output is the state"
            )
        if hook not in known or not hook:
            raise UnknownName.among("submodule", hook, [name for name in known if name][:50])
        words = Words(tokenizer)
        return cls(model, words, module_card(model, words, hook))

    @property
    def modules(self) -> dict[Site, nn.Module]:
        """The only block."""
        return {BLOCK: self.model.get_submodule(self.card.hook or "")}

    def run(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        read: Sequence[Site] = (),
        edit: Mapping[Site, Edit] | None = None,
        past: Any = None,
        keep: bool = False,
        logits: bool = False,
    ) -> Pass:
        taps = Taps(read, edit or {}, stop=not (keep or logits))
        if missing := [site for site in taps.sites if site != BLOCK]:
            raise UsageError(
                f"{missing[0]} cannot be read: the only layer of {self.card.name} is 0, attached "
                f"at {self.card.hook}"
            )
        whole = tokens if past is None else torch.cat([past, tokens], dim=1)
        with evaluating(self.model), taps.on_modules(self.modules):
            try:
                out = self.model(whole.to(self.device))
            except Stop:
                out = None
        new = slice(whole.shape[1] - tokens.shape[1], None)
        reads = {site: shaped(value, whole)[:, new] for site, value in taps.reads.items()}
        found = logits_of(out)[:, new] if logits else None
        return Pass(reads, found, whole if keep else None)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return device_of(self.model)

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        return listening(self.model, self.ear(self.model, self.modules, sites, heard, left_out))

    def hooks(self) -> tuple[str, ...]:
        return hooks_in(self.model)

    def untrained(self, seed: int) -> "ModuleModel":
        fresh = copy.deepcopy(self.model)
        with drawing(self.device, seed):
            redraw(fresh)
        card = module_card(fresh, self.words, str(self.card.hook), f"untrained {seed}")
        return replace(self, model=fresh, card=card)


def device_of(model: nn.Module) -> torch.device:
    """The device of the first weight."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def module_card(
    model: nn.Module, words: Words, hook: str, revision: str = "in memory"
) -> ModelCard:
    """The card of a module; the width is that of the hook's output for one token."""
    config: Any = getattr(model, "config", None)
    told = architecture(config.to_dict()) if hasattr(config, "to_dict") else {}
    tables = (m.num_embeddings for m in model.modules() if isinstance(m, nn.Embedding))
    kinds = (p.dtype for p in model.parameters() if p.is_floating_point())
    return ModelCard(
        name=type(model).__name__,
        revision=revision,
        fingerprint=fingerprint_of(model, told),
        weights="raw",
        dtype=str(next(kinds, torch.float32)).removeprefix("torch."),
        blocks=1,
        width=width_of(model, hook),
        context=context_of(config) or words.longest,
        vocabulary=next(tables, 0),
        bos=words.first,
        eos=words.special("eos"),
        turn_ends=words.turn_ends(),
        hook=hook,
    )


def width_of(model: nn.Module, hook: str) -> int:
    """The dimension of a state, from a pass over one token."""
    taps = Taps((BLOCK,), {}, stop=True)
    token, device = torch.zeros(1, 1, dtype=torch.long), device_of(model)
    modules = {BLOCK: model.get_submodule(hook)}
    with torch.no_grad(), own_random_state(device), evaluating(model), taps.on_modules(modules):
        try:
            model(token.to(device))
        except Stop:
            pass
        except (TypeError, ValueError, RuntimeError, IndexError) as error:
            raise UsageError(
                f"{type(model).__name__} must take token ids [batch, time] as its first argument, "
                f"but given one id it raised {type(error).__name__}: {error}"
            ) from error
    if BLOCK not in taps.reads:
        raise UsageError(f"{hook} is not called in a forward pass: name another submodule")
    return int(shaped(taps.reads[BLOCK], token).shape[-1])


def shaped(value: Any, tokens: Tensor) -> Tensor:
    """One state per token; raises `UsageError` for other outputs of the hook."""
    if not isinstance(value, Tensor) or value.ndim != 3 or value.shape[:2] != tokens.shape:
        came = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise UsageError(
            f"the output of the hook must be states [batch, time, dim], got {came}: name another "
            "submodule"
        )
    return value


def logits_of(out: Any) -> Tensor:
    """The logits in a module's output."""
    found = getattr(out, "logits", out[0] if isinstance(out, tuple | list) else out)
    if not isinstance(found, Tensor) or found.ndim != 3:
        raise UsageError(
            "logits [batch, time, vocabulary] are needed, but this module returns "
            f"{type(out).__name__}: use an analyzer that needs only states"
        )
    return found


def redraw(model: nn.Module) -> None:
    """New random weights by the modules' own initialisation, or else small normal ones."""
    for module in model.modules():
        reset: Any = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
            continue
        for weight in module.parameters(recurse=False):
            if weight.ndim > 1:
                nn.init.normal_(weight, std=0.02)
