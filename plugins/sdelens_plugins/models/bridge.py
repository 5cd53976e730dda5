"""Models of TransformerLens: loaded by us, or as their user holds them."""

import copy
import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformer_lens.hook_points import HookPoint
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from sdelens.errors import UsageError
from sdelens.origin import ModelCard
from sdelens.protocols import Edit, Pass, Site
from sdelens_plugins.models.catalogue import Located, locate
from sdelens_plugins.models.sharing import beginning, seen
from sdelens_plugins.models.taps import Stop, Taps, evaluating

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, eq=False)
class BridgeModel:
    """A `TransformerBridge`, with its user's own hooks active.

    Around a model that we loaded ourselves, `plain` is the same model with the same weights in
    memory, as Hugging Face runs it: its fused attention is faster than the bridge's, which spells
    attention out for its hooks. It runs wherever nobody looks into attention.
    """

    bridge: TransformerBridge
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard
    plain: nn.Module | None = None

    @classmethod
    def load(
        cls,
        name: str,
        *,
        revision: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        offline: bool = False,
    ) -> "BridgeModel":
        """Load an embedded model, a folder or a name on the hub, and build a bridge around it."""
        if dtype not in DTYPES:
            raise UsageError(f"dtype must be {', '.join(DTYPES)}; got {dtype!r}")
        place = resolve_device(device)
        located = locate(name, revision=revision, offline=offline)
        with own_random_state(place):
            return cls._read(located, DTYPES[dtype], place)

    @classmethod
    def _read(cls, located: Located, dtype: torch.dtype, device: torch.device) -> "BridgeModel":
        folder = str(located.folder)
        try:
            with quiet():
                inner: Any = AutoModelForCausalLM.from_pretrained(
                    folder, dtype=dtype, local_files_only=True
                )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError, ImportError) as error:
            first = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"{located.name} does not load as a causal language model ({first}): expected "
                "config.json, a tokenizer and *.safetensors of an architecture that transformers "
                "knows"
            ) from error
        return cls._around(inner.to(device), tokenizer, located.name, located.revision)

    @classmethod
    def _around(
        cls, inner: Any, tokenizer: PreTrainedTokenizerBase, name: str, revision: str
    ) -> "BridgeModel":
        """A bridge around a model that is ours alone; building one rewrites what it is given."""
        inner = inner.eval().requires_grad_(False)
        card = card_of(inner, tokenizer, name, revision)
        weights = (*inner.parameters(), *inner.buffers())
        plain = copy.deepcopy(inner, {id(tensor): tensor for tensor in weights})
        bridge = TransformerBridge.boot_transformers(
            name,
            hf_model=inner,
            tokenizer=copy.deepcopy(tokenizer),
            device=plain.device,
            dtype=plain.dtype,
        )
        return cls(bridge, tokenizer, card, plain)

    @classmethod
    def adapt(cls, model: TransformerBridge) -> "BridgeModel":
        """Use a bridge as it stands: no attribute of it is changed."""
        if model.tokenizer is None:
            raise UsageError("this bridge has no tokenizer: boot it with tokenizer=…")
        name = str(getattr(model.cfg, "model_name", "bridge"))
        # hooks are code, which has no fingerprint: such states are never taken from the cache
        hooked = any(point.has_hooks() for point in model.hook_dict.values())
        revision = f"in memory, hooked {secrets.token_hex(8)}" if hooked else "in memory"
        folded = bool(getattr(model, "compatibility_mode", False))
        card = card_of(model.original_model, model.tokenizer, name, revision, folded=folded)
        return cls(model, model.tokenizer, card)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        # sentencepiece marks a word's beginning, which decoding a token by itself would drop
        marked = (str(self.tokenizer.convert_ids_to_tokens(i)).startswith("▁") for i in ids)
        words = (str(self.tokenizer.decode([i])) for i in ids)
        return [
            f" {word.lstrip()}" if begins else word
            for begins, word in zip(marked, words, strict=True)
        ]

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
        model, hooks = self._tapped(taps)
        with evaluating(model), hooks:
            try:
                out = model(
                    input_ids=tokens.to(self.device),
                    past_key_values=past,
                    use_cache=keep,
                    # the last position's logits are all that generation needs
                    **({"logits_to_keep": 1} if keep and logits else {}),
                )
            except Stop:
                return Pass(taps.reads)
        kept = out.past_key_values if keep else None
        return Pass(taps.reads, out.logits if logits else None, kept)

    def branch(
        self,
        tokens: Int[Tensor, "batch position branch"],
        *,
        past: Any,
        after: Int[Tensor, " position"],
        read: Sequence[Site],
    ) -> Pass:
        rows, positions, branches = tokens.shape
        taps, after = Taps(read, {}, stop=True), after.to(self.device)
        model, hooks = self._tapped(taps)
        with evaluating(model), hooks, suppress(Stop):
            model(
                input_ids=tokens.reshape(rows, -1).to(self.device),
                past_key_values=beginning(past, rows, int(after.max())),
                use_cache=True,
                position_ids=after.repeat_interleave(branches).expand(rows, -1),
                attention_mask=seen(after, branches).expand(rows, -1, -1, -1),
            )
        shape = (rows, positions, branches, -1)
        return Pass({site: value.reshape(shape) for site, value in taps.reads.items()})

    def _tapped(self, taps: Taps) -> tuple[nn.Module, AbstractContextManager[None]]:
        """What runs: the plain model if it will do, else the bridge; and its hooks."""
        hooked = any(point.fwd_hooks for point in self._points)
        if self.plain is None or hooked or not self._modules.keys() >= set(taps.sites):
            return self.bridge.original_model, taps.on_bridge(self.bridge)
        return self.plain, taps.on_modules(self._modules)

    @cached_property
    def _points(self) -> tuple[HookPoint, ...]:
        return () if self.plain is None else tuple({*self.bridge.hook_dict.values()})

    @cached_property
    def _modules(self) -> dict[Site, nn.Module]:
        """The plain model's own modules whose outputs are the sites."""
        parts = self.bridge.adapter.component_mapping
        if self.plain is None or parts is None or "blocks" not in parts:
            return {}
        blocks = self.plain.get_submodule(str(parts["blocks"].name))
        modules = {Site("block", k): blocks.get_submodule(str(k)) for k in range(self.card.blocks)}
        # where the embedding is scaled after its module, the bridge's point has the scaled one
        if getattr(self.bridge.embed, "_output_contribution_scale", 1.0) == 1.0:
            modules[Site("embed")] = self.plain.get_submodule(str(parts["embed"].name))
        return modules

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        place: torch.device = next(self.bridge.original_model.parameters()).device
        return place

    def untrained(self, seed: int) -> "BridgeModel":
        inner: Any = self.plain or self.bridge.original_model
        with own_random_state(self.device):
            # the CPU's generator alone: torch.manual_seed would seed every device
            torch.default_generator.manual_seed(seed)
            config = copy.deepcopy(inner.config)
            fresh: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
            fresh = fresh.to(self.device, next(inner.parameters()).dtype)
            return self._around(fresh, self.tokenizer, self.card.name, f"untrained {seed}")


def own_random_state(device: torch.device) -> AbstractContextManager[None]:
    """Building modules draws weights, even those that are then loaded; nobody shall notice."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars of the library: the caller has its own."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def resolve_device(device: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU; an error where the device is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.mps.is_available()}
    if device not in present:
        raise UsageError(f"device must be auto, cpu, cuda or mps; got {device!r}")
    if not present[device]:
        raise UsageError(f"this machine has no {device} device: use --device auto or cpu")
    return torch.device(device)


def fingerprint_of(model: Any) -> str:
    """sha256 over the config and the names, shapes, types and bytes of all weights."""
    total = sha256(json.dumps(architecture(model), sort_keys=True, default=str).encode())
    for name, weight in sorted(model.named_parameters()):
        total.update(f"{name.replace('_original_component.', '')} {tuple(weight.shape)}".encode())
        total.update(f"{weight.dtype}".encode())
        flat = weight.detach().cpu().contiguous().view(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def architecture(model: Any) -> dict[str, Any]:
    """What the config says of the computation; not where it lies or what wrote it."""
    told = {"transformers_version", "dtype", "torch_dtype", "attn_implementation"}
    config: dict[str, Any] = model.config.to_dict()
    return {k: v for k, v in config.items() if not k.startswith("_") and k not in told}


def card_of(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    revision: str,
    *,
    folded: bool = False,
) -> ModelCard:
    """What a run must know of the model."""
    config = model.config.get_text_config()
    context = getattr(config, "max_position_embeddings", None) or tokenizer.model_max_length
    return ModelCard(
        name=name,
        revision=revision,
        fingerprint=fingerprint_of(model),
        weights="folded" if folded else "raw",
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        blocks=int(config.num_hidden_layers),
        width=int(config.hidden_size),
        context=int(context),
        vocabulary=int(config.vocab_size),
        bos=special(tokenizer, "bos"),
        eos=special(tokenizer, "eos"),
    )


def special(tokenizer: PreTrainedTokenizerBase, kind: str) -> int | None:
    """The id of a special token that the tokenizer's own files name.

    A bridge gives its tokenizer the EOS as BOS where it has none.
    """
    if tokenizer.init_kwargs.get(f"{kind}_token", "") is None:
        return None
    found: int | None = getattr(tokenizer, f"{kind}_token_id")
    return found
