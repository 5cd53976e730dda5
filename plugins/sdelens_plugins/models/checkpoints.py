"""Reads a checkpoint of Hugging Face; one whose tensors are not those of its model is refused.

transformers would draw missing tensors at random, skip unexpected ones, and read pickled files.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from sdelens.errors import UsageError
from sdelens_plugins.models.configuration import SAFE, read_config
from sdelens_plugins.models.library_errors import as_usage_error
from sdelens_plugins.models.library_output import quiet
from sdelens_plugins.models.loading import resolved_dtype
from sdelens_plugins.models.location import Located

LARGER = 10
"""Largest ratio of a model to its checkpoint that is built, and its missing tensors named."""
BUFFERS = re.compile(r"(attn|attention)\.(masked_)?bias$|causal_mask$|inv_freq$|position_ids$")
"""Tensors of old checkpoints that are computed today; transformers leaves out most of them."""
NAMED = 3
"""Maximum number of tensors of each kind in an error."""


def read_checkpoint(
    located: Located, dtype: str
) -> tuple[nn.Module, PreTrainedTokenizerBase, str]:
    """The model on the CPU, its tokenizer, and how the tensors were read, in words.

    Raises `UsageError` unless all tensors fit.

    The tensors are read here, from the files of `Located.weights` only. A model without its output
    layer computes states but no logits.
    """
    folder, name = str(located.folder), located.name
    with quiet():
        config = read_config(located)
        tokenizer = AutoTokenizer.from_pretrained(folder, **SAFE)
        tensors = _tensors(located.weights)
        frame = _frame(config, tensors, name)
        kind = resolved_dtype(dtype, next((t.dtype for t in tensors.values()), None))
        model, found = type(frame).from_pretrained(
            None,
            config=frame.config,
            state_dict=tensors,
            dtype=kind,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below instead of raised
            use_safetensors=True,
            **SAFE,
        )
    return model, tokenizer, _required_complete(model, found, name, len(tensors))


def _tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def one_sentence(name: str) -> AbstractContextManager[None]:
    """Whatever the libraries raise for a damaged folder, as a `UsageError`."""
    return as_usage_error(
        f"{name} does not load as a causal language model",
        ": expected config.json, a tokenizer and whole *.safetensors of an architecture that "
        "transformers knows",
        typed=False,
    )


def _frame(config: PretrainedConfig, tensors: Mapping[str, Tensor], name: str) -> Any:
    """The model without values; raises `UsageError` if it is much larger than its checkpoint."""
    blocks, stored = config.get_text_config().num_hidden_layers, _size(tensors.values())
    if blocks <= LARGER * len(tensors):  # a block has at least one tensor
        build: Any = AutoModelForCausalLM.from_config
        with torch.device("meta"):
            frame = build(config, trust_remote_code=False)
        if _size(frame.parameters()) <= LARGER * stored:
            return frame
    raise UsageError(
        f"config.json of {name} describes a larger model, with {blocks:,} layers, than the "
        f"checkpoint holds in {len(tensors):,} tensors of {stored:,} values: correct config.json"
    )


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _required_complete(
    model: Any, found: Mapping[str, Collection[Any]], name: str, stored: int
) -> str:
    """How the tensors were read; raises `UsageError` unless they are exactly those of the model.

    transformers' report leaves out tied weights and buffers that it knows. An output layer that is
    missing is replaced by one that refuses to compute logits.
    """
    head = model.get_output_embeddings()
    place = next((own for own, module in model.named_modules() if module is head), None)
    missing = {key for key in found["missing_keys"] if key.rpartition(".")[0] != place}
    unexpected = {key for key in found["unexpected_keys"] if not BUFFERS.search(key)}
    mismatched = [
        f"{key} ({list(stored)} instead of {list(expected)})"
        for key, stored, expected in found["mismatched_keys"]
    ]
    wrong = [
        _listed(kind, tensors)
        for kind, tensors in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", mismatched),
            ("not readable", found["error_msgs"]),
        )
        if tensors
    ]
    if wrong:
        raise UsageError(
            f"the checkpoint of {name} does not match its config.json, with tensors "
            f"{'; '.join(wrong)}. Save the model again with save_pretrained, or correct "
            "config.json"
        )
    if len(missing) < len(found["missing_keys"]):
        _without_logits(head, name, str(place))
        return f"{stored:,} tensors, without an output layer: states only"
    return f"all of {stored:,} tensors"


def _listed(kind: str, tensors: Collection[str]) -> str:
    more = f" and {len(tensors) - NAMED:,} more" if len(tensors) > NAMED else ""
    return f"{len(tensors):,} {kind}: {', '.join(sorted(tensors)[:NAMED])}{more}"


def _without_logits(head: nn.Module, name: str, place: str) -> None:
    """Raise `UsageError` where logits would be computed from random numbers."""

    def refuse(*_: Any) -> None:
        raise UsageError(
            f"the checkpoint of {name} has no output layer ({place}): its states can be captured "
            "along --texts or --dataset, but no text can be sampled and no next token predicted"
        )

    for weight in head.parameters():
        weight.detach().zero_()  # the same fingerprint each time
    head.register_forward_pre_hook(refuse)
