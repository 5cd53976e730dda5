"""The weights of a Hugging Face model as they are stored, also inside a `TransformerBridge`.

A bridge replaces each module by one that holds it as ``_original_component``, and may split a
fused matrix into copies or views. Without these, the weights have their own names again, so a
bridge and the model inside it have the same fingerprint.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

ORIGINAL = "_original_component"
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
PIECE = 2**20
"""Values that are converted to integers at a time."""


def stored_weights(model: nn.Module) -> dict[str, Tensor]:
    """Every weight once, by name; of the copies in a bridge those that have been changed.

    For a model without a bridge these are its named parameters.
    """
    named: dict[str, Tensor] = {}
    known: set[int] = set()
    for name, weight in _originals(model, ""):
        if id(weight) not in known:
            known.add(id(weight))
            named[name] = weight
    split = {name: weight for name, weight in model.named_parameters() if id(weight) not in known}
    if not split:
        return named
    own = {weight.untyped_storage().data_ptr() for weight in named.values() if not weight.is_meta}
    copies: dict[str, Tensor] = {
        name: weight
        for name, weight in split.items()
        if weight.untyped_storage().data_ptr() not in own
    }
    return named | dict(_edited(model, copies, known))


def _originals(module: nn.Module, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """All weights with the names that they have without a bridge."""
    inner = module._modules.get(ORIGINAL)
    if inner is not None:
        yield from _originals(inner, prefix)
        return
    yield from ((prefix + name, w) for name, w in module._parameters.items() if w is not None)
    for name, child in module._modules.items():
        if child is not None:
            yield from _originals(child, f"{prefix}{name}.")


def _edited(
    model: nn.Module, copies: dict[str, Tensor], known: set[int]
) -> Iterator[tuple[str, Tensor]]:
    """The copies that do not hold the values of one stored weight next to them, in any order."""
    groups: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    for name, weight in copies.items():
        owner, _, field = name.rpartition(f".{ORIGINAL}.")
        groups[owner.rpartition(".")[0], field][name] = weight
    for (parent, field), parts in groups.items():
        beside = (
            dict(child.named_parameters()).get(f"{ORIGINAL}.{field}")
            for child in model.get_submodule(parent).children()
        )
        fused = [weight for weight in beside if weight is not None and id(weight) in known]
        split = _sums(parts.values())
        if all(_sums([weight]) != split for weight in fused):
            yield from parts.items()


def _sums(weights: Iterable[Tensor]) -> tuple[int, int, int]:
    """Number of values, and sums of their bits and of the squares: the same in every order."""
    count, total, squares = 0, 0, 0
    for weight in weights:
        bits = weight.detach().contiguous().view(-1).view(BITS[weight.element_size()])
        count += len(bits)
        for piece in torch.split(bits, PIECE):
            whole = piece.long()
            total += int(whole.sum())
            squares += int((whole * whole).sum())
    return count, total % 2**64, squares % 2**64
