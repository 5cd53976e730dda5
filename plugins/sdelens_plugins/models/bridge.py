"""Models of TransformerLens: loaded by us, or as their user holds them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

import torch
from jaxtyping import Int
from sdelens_plugins.models.catalogue import Located, locate
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from sdelens.errors import UsageError
from sdelens.origin import ModelCard
from sdelens.protocols import Edit, Pass, Site

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Stop(Exception):
    """Raised by the deepest hook: nothing after it is needed."""


@dataclass(frozen=True, eq=False)
class BridgeModel:
    """A `TransformerBridge`, with its user's own hooks active."""

    bridge: TransformerBridge
    tokenizer: PreTrainedTokenizerBase
    card: ModelCard

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
        located = locate(name, revision=revision, offline=offline)
        place = resolve_device(device)
        return cls._around(located, DTYPES[dtype], place)

    @classmethod
    def _around(cls, located: Located, dtype: torch.dtype, device: torch.device) -> "BridgeModel":
        folder = str(located.folder)
        inner = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        inner = inner.eval().requires_grad_(False)
        fingerprint = fingerprint_of(inner)
        bridge = TransformerBridge.boot_transformers(
            folder, hf_model=inner.to(device), tokenizer=tokenizer, dtype=dtype, device=device
        )
        card = card_of(bridge, tokenizer, located.name, located.revision, fingerprint)
        return cls(bridge, tokenizer, card)

    @classmethod
    def adapt(cls, model: TransformerBridge) -> "BridgeModel":
        """Use a bridge as it stands: no attribute of it is changed."""
        name = str(getattr(model.cfg, "model_name", "bridge"))
        fingerprint = fingerprint_of(model.original_model)
        card = card_of(model, model.tokenizer, name, "in memory", fingerprint)
        return cls(model, model.tokenizer, card)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def decode(self, ids: Sequence[int]) -> list[str]:
        # sentencepiece marks a word's beginning, which decoding a token by itself would drop
        marked = (str(self.tokenizer.convert_ids_to_tokens(i)).startswith("▁") for i in ids)
        words = (self.tokenizer.decode([i]) for i in ids)
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
        reads: dict[Site, Tensor] = {}
        last = None if keep or logits or not read else max(read, key=_depth)
        with self._hooked(read, edit or {}, reads, last):
            try:
                out = self.bridge.original_model(
                    input_ids=tokens.to(self.device),
                    past_key_values=past,
                    use_cache=keep,
                    # the last position's logits are all that generation needs
                    **({"logits_to_keep": 1} if keep and logits else {}),
                )
            except Stop:
                return Pass(reads)
        kept = out.past_key_values if keep else None
        return Pass(reads, out.logits if logits else None, kept)

    @contextmanager
    def _hooked(
        self,
        read: Sequence[Site],
        edit: Mapping[Site, Edit],
        reads: dict[Site, Tensor],
        last: Site | None,
    ) -> Iterator[None]:
        """Hooks at the sites for the time of one pass; removed on any exit, the user's own stay."""

        def hook_at(site: Site) -> Any:
            def hook(value: Tensor, hook: Any) -> Tensor | None:
                del hook  # the point is known
                changed = edit[site](value) if site in edit else None
                if site in read:
                    reads[site] = (value if changed is None else changed).detach()
                if site == last:
                    raise Stop
                return changed

            return hook

        sites = sorted({*read, *edit}, key=_depth)
        with self.bridge.hooks(fwd_hooks=[(point(site), hook_at(site)) for site in sites]):
            yield

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.bridge.original_model.parameters()).device

    def untrained(self, seed: int) -> "BridgeModel":
        inner = self.bridge.original_model
        state = torch.random.get_rng_state()
        try:
            torch.manual_seed(seed)
            fresh = AutoModelForCausalLM.from_config(inner.config)
        finally:
            torch.random.set_rng_state(state)
        fresh = fresh.to(self.device, next(inner.parameters()).dtype).eval().requires_grad_(False)
        fingerprint = fingerprint_of(fresh)
        bridge = TransformerBridge.boot_transformers(
            self.card.name, hf_model=fresh, tokenizer=self.tokenizer, device=self.device
        )
        card = replace(self.card, revision=f"untrained {seed}", fingerprint=fingerprint)
        return BridgeModel(bridge, self.tokenizer, card)


def point(site: Site) -> str:
    """The hook point of a site."""
    if site.kind == "embed":
        return "embed.hook_out"
    kind = "hook_out" if site.kind == "block" else "attn.hook_pattern"
    return f"blocks.{site.layer}.{kind}"


def _depth(site: Site) -> tuple[int, int]:
    """In the order in which a pass reaches the sites."""
    if site.kind == "embed":
        return (-1, 0)
    return (site.layer, int(site.kind == "block"))


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


def fingerprint_of(model: nn.Module) -> str:
    """sha256 over the names, shapes, types and bytes of all weights, buffers left out."""
    total = sha256()
    for name, weight in sorted(model.named_parameters()):
        total.update(f"{name.replace('_original_component.', '')} {tuple(weight.shape)}".encode())
        total.update(f"{weight.dtype}".encode())
        flat = weight.detach().cpu().contiguous().view(-1)
        total.update(flat.view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def card_of(
    bridge: TransformerBridge,
    tokenizer: PreTrainedTokenizerBase,
    name: str,
    revision: str,
    fingerprint: str,
) -> ModelCard:
    """What a run must know of the model."""
    config = bridge.original_model.config
    inner = config.get_text_config()
    dtype = next(bridge.original_model.parameters()).dtype
    folded = bool(getattr(bridge, "compatibility_mode", False))
    return ModelCard(
        name=name,
        revision=revision,
        fingerprint=fingerprint,
        weights="folded" if folded else "raw",
        dtype=str(dtype).removeprefix("torch."),
        blocks=int(inner.num_hidden_layers),
        width=int(inner.hidden_size),
        context=int(inner.max_position_embeddings),
        vocabulary=int(inner.vocab_size),
        bos=tokenizer.bos_token_id,
        eos=tokenizer.eos_token_id,
    )
