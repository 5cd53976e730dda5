"""Causal language models of Hugging Face, through plain forward hooks."""

import copy
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from sdelens.errors import UsageError
from sdelens.model_protocols import ForwardRecord, Inspection
from sdelens.origin import ModelCard
from sdelens.protocols import Edit, Pass, Site
from sdelens.seeds import drawing
from sdelens_plugins.models.adapter import Adapter
from sdelens_plugins.models.cards import card_of, contexts_in, name_of, revision_of
from sdelens_plugins.models.inspection import calls_in, hidden_states
from sdelens_plugins.models.pass_hooks import listening
from sdelens_plugins.models.sharing import tried
from sdelens_plugins.models.taps import Stop, Taps, evaluating
from sdelens_plugins.models.user_hooks import hooks_in
from sdelens_plugins.models.words import Words


@dataclass(frozen=True, eq=False)
class PlainModel(Adapter):
    """A Hugging Face model, unchanged, with the user's own hooks active."""

    library: ClassVar[str] = "transformers"
    model: Any
    words: Words
    card: ModelCard
    modules: Mapping[Site, nn.Module]
    """The modules whose outputs are the sites."""
    loading: str = ""
    """How the weights were read, if they were read by sdelens."""

    @classmethod
    def adapt(cls, model: Any, *, tokenizer: Any = None) -> "PlainModel":
        """Use a model without changing any attribute."""
        if not causal(model):
            raise UsageError(
                f"a {type(model).__name__} is not a causal language model: give a model that "
                'AutoModelForCausalLM loads, or name a layer with attach(model, hook="…")'
            )
        modules = sites_in(model)
        if not modules:
            raise UsageError(
                f"the blocks of a {type(model).__name__} were not found: name one with "
                'attach(model, hook="model.layers.6"), as in model.named_modules()'
            )
        words = Words(tokenizer if tokenizer is not None else own_tokenizer(model))
        return cls(
            model, words, card_of(model, words, name_of(model), revision_of(model)), modules
        )

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
        # stopping early would leave weights that accelerate has fetched on the device
        taps = Taps(read, edit or {}, stop=not (keep or logits or offloaded(self.model)))
        if missing := [site for site in taps.sites if site not in self.modules]:
            raise UsageError(
                f"{missing[0]} of {self.card.name} cannot be read by plain hooks: load the model "
                "by its name, or attach a TransformerBridge"
            )
        with evaluating(self.model), taps.on_modules(self.modules):
            return passed(self.model, taps, tokens.to(self.device), past, keep=keep, logits=logits)

    def branch(
        self,
        tokens: Int[Tensor, "batch position branch"],
        *,
        past: Any,
        after: Int[Tensor, " position"],
        read: Sequence[Site],
    ) -> Pass:
        taps = Taps(read, {}, stop=not offloaded(self.model))
        with evaluating(self.model), taps.on_modules(self.modules):
            return tried(self.model, taps, tokens.to(self.device), past, after.to(self.device))

    def run_padded(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Int[Tensor, " batch"],
        past: Any = None,
    ) -> Pass:
        place = self.device
        return padded(
            self.model, tokens.to(place), padding.to(place), past, context=self.card.context
        )

    def select_rows(self, past: Any, rows: Int[Tensor, " kept"]) -> Any:
        past.batch_select_indices(rows.to(self.device))
        return past

    @property
    def device(self) -> torch.device:
        """The device of the weights; that of the embedding if they are distributed."""
        return device_of(self.model)

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        reader = self.model.get_input_embeddings()
        return listening(self.root, self.ear(reader, self.modules, sites, heard, left_out))

    @property
    def root(self) -> nn.Module:
        """The module that contains the blocks, which every way of running the model calls."""
        first = self.modules[Site("block", 0)]
        name = next(name for name, module in self.model.named_modules() if module is first)
        owner: nn.Module = self.model.get_submodule(name.rpartition(".")[0].rpartition(".")[0])
        return owner

    def inspect(self, tokens: Int[Tensor, "batch time"]) -> Inspection:
        there = tokens.to(self.device)
        hidden = None if offloaded(self.model) else hidden_states(self.model, there)
        return Inspection(tokens, calls_in(self.model, there, self.modules), hidden, self.loading)

    def contexts(self) -> Mapping[str, int]:
        return contexts_in(self.model.config.get_text_config())

    def hooks(self) -> tuple[str, ...]:
        return hooks_in(self.model)

    def untrained(self, seed: int) -> "PlainModel":
        fresh = drawn_again(self.model, self.device, seed)
        card = card_of(fresh, self.words, self.card.name, f"untrained {seed}")
        return replace(self, model=fresh, card=card, modules=sites_in(fresh))


def padded(model: Any, tokens: Tensor, padding: Tensor, past: Any, *, context: int) -> Pass:
    """Run one forward pass over rows that begin, or began, with padding."""
    before = 0 if past is None else int(past.get_seq_length())
    place = torch.arange(before + tokens.shape[1], device=tokens.device)
    # a row that has reached the end of the context may be fed on, and is ignored
    positions = (place[before:] - padding[:, None]).clamp(min=0, max=context - 1)
    told = {"position_ids": positions} if "position_ids" in forward_names(model) else {}
    with evaluating(model):
        out = model(
            input_ids=tokens,
            attention_mask=(place >= padding[:, None]).long(),
            past_key_values=past,
            use_cache=True,
            logits_to_keep=1,
            **told,
        )
    return Pass({}, out.logits, out.past_key_values)


def forward_names(model: Any) -> Set[str]:
    """The names of what the forward pass takes."""
    return signature(model.forward).parameters.keys()


def causal(model: Any) -> bool:
    """Whether the model generates text, unlike encoders and translation models."""
    generates = getattr(model, "can_generate", lambda: False)
    return bool(generates()) and not getattr(model.config, "is_encoder_decoder", False)


def passed(model: Any, taps: Taps, tokens: Tensor, past: Any, *, keep: bool, logits: bool) -> Pass:
    """Run one forward pass with hooks."""
    try:
        out = model(
            input_ids=tokens,
            past_key_values=past,
            use_cache=keep,
            # generation needs only the logits of the last position
            **({"logits_to_keep": 1} if keep and logits else {}),
        )
    except Stop:
        return Pass(taps.reads)
    kept = getattr(out, "past_key_values", None) if keep else None
    if keep and kept is None:
        raise UsageError(
            f"a {type(model).__name__} keeps no key-value cache, as state-space models do: its "
            "states can be captured along --texts or --dataset, but no text can be sampled"
        )
    return Pass(taps.reads, out.logits if logits else None, kept)


def sites_in(model: Any) -> dict[Site, nn.Module]:
    """The embedding and the blocks; empty if the blocks cannot be identified with certainty."""
    count = int(model.config.get_text_config().num_hidden_layers)
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == count
    }
    # a list of experts may have the same length, but lies inside a block
    outer = [name for name in lists if not any(name.startswith(f"{n}.") for n in lists)]
    if len(outer) != 1:
        return {}
    blocks = {Site("block", k): block for k, block in enumerate(lists[outer[0]])}
    return {Site("embed"): model.get_input_embeddings(), **blocks}


def drawn_again(model: Any, device: torch.device, seed: int) -> Any:
    """The same architecture with new random weights."""
    config, dtype = copy.deepcopy(model.config), model.dtype
    with drawing(device, seed):
        fresh: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        return fresh.to(device, dtype).eval().requires_grad_(False)


def device_of(model: Any) -> torch.device:
    """The device of the embedding; the CPU if accelerate fetches it on demand."""
    place: torch.device = model.get_input_embeddings().weight.device
    return torch.device("cpu") if place.type == "meta" else place


def offloaded(model: Any) -> bool:
    """Whether accelerate fetches some weights on demand."""
    places = getattr(model, "hf_device_map", None) or {}
    return any(str(place) in ("cpu", "disk") for place in places.values())


def own_tokenizer(model: Any) -> Any:
    """The tokenizer of the same name or folder, if it is available locally."""
    name = getattr(model.config, "_name_or_path", "")
    try:
        # never run code that comes with a tokenizer, and never prompt for it
        safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        return AutoTokenizer.from_pretrained(name, **safe) if name else None
    except Exception:  # of several libraries, for files that are missing or damaged
        return None
