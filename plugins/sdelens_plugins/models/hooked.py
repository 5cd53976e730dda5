"""`HookedTransformer` of TransformerLens 2 and 3, recognised by its methods."""

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from sdelens.errors import UsageError
from sdelens.model_protocols import ForwardRecord
from sdelens.origin import ModelCard
from sdelens.protocols import Edit, Pass, Site
from sdelens.seeds import drawing
from sdelens_plugins.models.adapter import Adapter
from sdelens_plugins.models.cards import fingerprint_of
from sdelens_plugins.models.pass_hooks import listening_inside
from sdelens_plugins.models.taps import Stop, Taps, evaluating, point
from sdelens_plugins.models.user_hooks import hooks_in
from sdelens_plugins.models.words import Words

SIZES = ("n_layers", "d_model", "n_heads", "d_head", "d_mlp", "act_fn", "normalization_type")
"""Entries of the configuration that affect the computation."""


@dataclass(frozen=True, eq=False)
class HookedModel(Adapter):
    """A hooked model, unchanged, with the user's own hooks active."""

    library: ClassVar[str] = "transformer_lens"
    model: Any
    words: Words
    card: ModelCard

    @classmethod
    def adapt(cls, model: Any, *, tokenizer: Any = None) -> "HookedModel":
        """Use a model without changing any attribute."""
        known = hasattr(model, "run_with_hooks") and "hook_embed" in model.hook_dict
        if not known or getattr(model.cfg, "attention_dir", "causal") != "causal":
            raise UsageError(
                f"a {type(model).__name__} is not a causal model of TransformerLens: give a "
                "TransformerBridge or a HookedTransformer"
            )
        words = Words(tokenizer if tokenizer is not None else model.tokenizer)
        return cls(model, words, hooked_card(model, words))

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
        tokens = tokens.to(self.device)
        past = empty_cache(self.model, len(tokens), self.device) if keep and not past else past
        with evaluating(self.model), taps.on_points(self.model):
            try:
                out = self.model(
                    tokens,
                    # never one that the model makes from the pad id
                    attention_mask=torch.ones_like(tokens),
                    past_kv_cache=past,
                    return_type="logits" if logits else None,
                )
            except Stop:
                return Pass(taps.reads)
        return Pass(taps.reads, out, past if keep else None)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        place: torch.device = next(self.model.parameters()).device
        return place

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        # generate calls its own forward, past the hooks of modules; and texts are padded unsaid
        ear = self.ear(self.model.embed, self.modules, sites, heard, left_out, filling=self.pad)
        return listening_inside(list(self.model.blocks), ear)

    def hooks(self) -> tuple[str, ...]:
        return hooks_in(self.model)

    @property
    def modules(self) -> dict[Site, nn.Module]:
        """The hook points of the sites."""
        points: dict[str, nn.Module] = self.model.hook_dict
        sites = (Site("embed"), *(Site("block", k) for k in range(self.card.blocks)))
        return {site: points[point(site, points)] for site in sites}

    def untrained(self, seed: int) -> "HookedModel":
        fresh = copy.deepcopy(self.model)
        with drawing(self.device, seed):
            fresh.init_weights()
        card = hooked_card(fresh, self.words, f"untrained {seed}")
        return replace(self, model=fresh, card=card)


def hooked_card(model: Any, words: Words, revision: str = "in memory") -> ModelCard:
    """The card of a hooked model."""
    cfg = model.cfg
    return ModelCard(
        name=str(cfg.model_name),
        revision=revision,
        fingerprint=fingerprint_of(model, {name: getattr(cfg, name, None) for name in SIZES}),
        weights=processed(model, folded=str(cfg.normalization_type).endswith("Pre")),
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        blocks=int(cfg.n_layers),
        width=int(cfg.d_model),
        context=int(cfg.n_ctx),
        vocabulary=int(cfg.d_vocab),
        bos=words.first,
        eos=words.special("eos"),
        turn_ends=words.turn_ends(),
        layout="HookedTransformer",
    )


def processed(model: Any, *, folded: bool) -> str:
    """The weight processing that TransformerLens applied on loading.

    Centred weights remove the mean over a state's coordinates, which changes the states.
    """
    embedding = model.W_E.detach().float()
    if float(embedding.mean(-1).abs().max()) < 1e-4 * float(embedding.std()):
        return "centred"
    return "folded" if folded else "raw"


def empty_cache(model: Any, rows: int, device: torch.device) -> Any:
    """An empty key-value cache, under its name in the installed version of the library."""
    library = import_module("transformer_lens")
    names = ("TransformerLensKeyValueCache", "HookedTransformerKeyValueCache")
    kind = next(getattr(library, name) for name in names if hasattr(library, name))
    return kind.init_cache(model.cfg, device, rows)
