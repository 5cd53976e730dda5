"""TransformerLens models, loaded by sdelens or given by the user."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sdelens.errors import UsageError
from sdelens.model_protocols import ForwardRecord, Inspection, ModelPreview, OpenModel
from sdelens.origin import ModelCard
from sdelens.protocols import Edit, LanguageModel, Pass, Site
from sdelens.seeds import own_random_state
from sdelens_plugins.models.adapter import Adapter
from sdelens_plugins.models.cards import card_of, contexts_in, rounded_card
from sdelens_plugins.models.checkpoints import one_sentence, read_checkpoint
from sdelens_plugins.models.hooked import HookedModel, processed
from sdelens_plugins.models.inspection import calls_in
from sdelens_plugins.models.loading import rounded, spread, with_adapter
from sdelens_plugins.models.location import locate, open_models
from sdelens_plugins.models.pass_hooks import listening
from sdelens_plugins.models.plain import PlainModel, drawn_again, padded, passed, sites_in
from sdelens_plugins.models.preview import card_of_config, has_template_file
from sdelens_plugins.models.sharing import tried
from sdelens_plugins.models.taps import Taps, evaluating, point
from sdelens_plugins.models.user_hooks import hooks_at, hooks_everywhere
from sdelens_plugins.models.words import Words

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True, eq=False)
class BridgeModel(Adapter):
    """A `TransformerBridge`, with the user's own hooks active.

    For a model loaded by sdelens, `plain` is the Hugging Face model that shares its weights. Its
    fused attention is faster than the bridge's, which computes attention step by step for its
    hooks. It is used unless attention is read.
    """

    library: ClassVar[str] = "transformer_lens"
    bridge: "TransformerBridge"
    words: Words
    card: ModelCard
    plain: PlainModel | None = None
    initial: tuple[str, ...] = ()
    """Hooks of some architectures that the bridge sets itself, which are not the user's."""

    @classmethod
    def load(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        offline: bool = False,
        quantise: str | None = None,
        adapter: str | None = None,
        device_map: str | None = None,
        bos: str = "auto",
    ) -> LanguageModel:
        """Load an embedded model, a folder or a model of the hub, and build a bridge around it.

        Rounded weights, and those spread over devices, are used without a bridge.
        """
        place = resolve_device(device)
        located = locate(name, revision=revision, offline=offline)
        with own_random_state(place), one_sentence(located.name):
            inner, tokenizer, loading = read_checkpoint(located, dtype)
            made = located.revision
            if adapter is not None:
                inner, added = with_adapter(inner, adapter)
                made = f"{made}, {added}"
            inner = inner.eval().requires_grad_(False)
            words = Words(tokenizer, bos)
            if quantise is None and device_map is None:
                bridged = cls._around(inner.to(place), words, located.name, made)
                return bridged._with(located.quantisation, loading)
            card = card_of(inner, words, located.name, made)
            card = replace(card, quantisation=located.quantisation)
            inner = spread(inner) if device_map else inner.to(place)
            if quantise is not None:
                inner, card = rounded(inner, quantise), rounded_card(card, quantise)
            return PlainModel(inner, words, card, sites_in(inner), loading)

    def _with(self, quantisation: str, loading: str) -> "BridgeModel":
        """The model with what is known of its file."""
        card = replace(self.card, quantisation=quantisation)
        plain = self.plain and replace(self.plain, card=card, loading=loading)
        return replace(self, card=card, plain=plain)

    @classmethod
    def catalogue(cls) -> list[OpenModel]:
        """The open models that are known by name."""
        return [*open_models()]

    @classmethod
    def fetch(cls, name: str, *, revision: str | None = None, offline: bool = False) -> Path:
        """The folder of a model, downloaded and converted if necessary."""
        return locate(name, revision=revision, offline=offline).folder

    @classmethod
    def preview(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        offline: bool = False,
        quantise: str | None = None,
        bos: str = "auto",
        **_: Any,
    ) -> ModelPreview:
        """Sizes and device of a model, from its config.json."""
        del bos  # a matter of the tokenizer, which is not read
        located = locate(name, revision=revision, offline=offline, weights=False)
        card = card_of_config(located, dtype)
        if quantise is not None:
            card = rounded_card(card, quantise)
        return ModelPreview(card, resolve_device(device), has_template_file(located))

    @classmethod
    def _around(cls, inner: Any, words: Words, name: str, revision: str) -> "BridgeModel":
        """A bridge around a model that sdelens owns; building a bridge rewrites the model."""
        from transformer_lens.model_bridge import TransformerBridge

        inner = inner.eval().requires_grad_(False)
        card = card_of(inner, words, name, revision)
        weights = (*inner.parameters(), *inner.buffers())
        own = copy.deepcopy(inner, {id(tensor): tensor for tensor in weights})
        bridge = TransformerBridge.boot_transformers(
            name,
            hf_model=inner,
            tokenizer=copy.deepcopy(words.tokenizer),
            device=own.device,
            dtype=own.dtype,
        )
        sites = sites_in(own)
        # where the embedding is scaled after its module, the bridge's point has the scaled one
        if getattr(bridge.embed, "_output_contribution_scale", 1.0) != 1.0:
            sites.pop(Site("embed"), None)
        made = cls(bridge, words, card, PlainModel(own, words, card, sites))
        return replace(made, initial=tuple(hooks_at(("", point) for point in made._points)))

    @classmethod
    def adapt(cls, model: Any, *, tokenizer: Any = None) -> LanguageModel:
        """Use a bridge, or a legacy hooked model, without changing any attribute."""
        if not hasattr(model, "original_model"):
            return HookedModel.adapt(model, tokenizer=tokenizer)
        words = Words(tokenizer if tokenizer is not None else model.tokenizer)
        name = str(getattr(model.cfg, "model_name", "bridge"))
        rewritten = bool(getattr(model, "_weights_processed", False))
        weights = processed(model, folded=True) if rewritten else "raw"
        card = card_of(model.original_model, words, name, "in memory", weights=weights)
        return cls(model, words, card)

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
        if self.plain and self._plainly(taps):
            return self.plain.run(
                tokens, read=read, edit=edit, past=past, keep=keep, logits=logits
            )
        inner = self.bridge.original_model
        with evaluating(inner), taps.on_points(self.bridge):
            return passed(inner, taps, tokens.to(self.device), past, keep=keep, logits=logits)

    def branch(
        self,
        tokens: Int[Tensor, "batch position branch"],
        *,
        past: Any,
        after: Int[Tensor, " position"],
        read: Sequence[Site],
    ) -> Pass:
        taps = Taps(read, {}, stop=True)
        if self.plain and self._plainly(taps):
            return self.plain.branch(tokens, past=past, after=after, read=read)
        inner = self.bridge.original_model
        with evaluating(inner), taps.on_points(self.bridge):
            return tried(inner, taps, tokens.to(self.device), past, after.to(self.device))

    def run_padded(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        padding: Int[Tensor, " batch"],
        past: Any = None,
    ) -> Pass:
        if self.plain and not self.hooked():
            return self.plain.run_padded(tokens, padding=padding, past=past)
        place, inner = self.device, self.bridge.original_model
        return padded(inner, tokens.to(place), padding.to(place), past, context=self.card.context)

    def select_rows(self, past: Any, rows: Int[Tensor, " kept"]) -> Any:
        past.batch_select_indices(rows.to(self.device))
        return past

    def _plainly(self, taps: Taps) -> bool:
        """Whether the plain model is sufficient."""
        known = self.plain is not None and self.plain.modules.keys() >= set(taps.sites)
        return known and not self.hooked()

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        reader = self.bridge.original_model.get_input_embeddings()
        ear = self.ear(reader, self.modules, sites, heard, left_out)
        return listening(self.bridge.original_model, ear)

    def inspect(self, tokens: Int[Tensor, "batch time"]) -> Inspection:
        if self.plain is not None:
            return self.plain.inspect(tokens)
        inner, there = self.bridge.original_model, tokens.to(self.device)
        return Inspection(tokens, calls_in(inner, there, self.modules), None, "")

    def contexts(self) -> Mapping[str, int]:
        return contexts_in(self.bridge.original_model.config.get_text_config())

    def hooks(self) -> tuple[str, ...]:
        points = [("", point) for point in self._points]
        if self.plain is not None:  # only hook points are there for a user to reach
            added = Counter(hooks_at(points)) - Counter(self.initial)
            return (*hooks_everywhere(), *added.elements())
        inner = [*self.bridge.original_model.named_modules()]
        known = {id(module) for _, module in inner}
        rest = [each for each in points if id(each[1]) not in known]
        return (*hooks_everywhere(), *hooks_at([*inner, *rest]))

    @cached_property
    def _points(self) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(self.bridge.hook_dict.values()))

    @property
    def modules(self) -> dict[Site, nn.Module]:
        """The hook points of the sites."""
        points: dict[str, nn.Module] = self.bridge.hook_dict
        sites = (Site("embed"), *(Site("block", k) for k in range(self.card.blocks)))
        return {site: points[point(site, points)] for site in sites}

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        place: torch.device = next(self.bridge.original_model.parameters()).device
        return place

    def untrained(self, seed: int) -> "BridgeModel":
        inner = self.plain.model if self.plain else self.bridge.original_model
        fresh = drawn_again(inner, self.device, seed)
        with own_random_state(self.device):
            return self._around(fresh, self.words, self.card.name, f"untrained {seed}")


def resolve_device(device: str) -> torch.device:
    """Resolve ``auto`` to CUDA if available, else the CPU; raises `UsageError` if unavailable."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if device not in present:
        raise UsageError(f"device must be auto, cpu, cuda or mps; got {device!r}")
    if not present[device]:
        raise UsageError(f"this machine has no {device} device: use --device auto or cpu")
    return torch.device(device)
