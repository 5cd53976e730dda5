"""Forward passes over many rows, in batches that are halved if memory runs out."""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import OutOfMemory, ran_out
from sdelens.protocols import LanguageModel, Site

BATCH_TOKENS = 2048
"""Tokens per forward pass on the CPU, padding included."""
LOGITS = 2**24
"""Maximum number of logits per forward pass: 64 MiB, and a few times that for temporaries."""
TOLERANCE, COARSE = {"float32": 1e-4, "float64": 1e-4, "float16": 0.01}, 0.05
"""Largest relative distance between two computations of the same values; bfloat16 has eight
bits."""


def tokens_with_logits(model: LanguageModel, most: int = BATCH_TOKENS) -> int:
    """Tokens per forward pass that keeps the logits of all of them; at least one."""
    return max(1, min(most, LOGITS // model.card.vocabulary))


def passes(
    model: LanguageModel,
    padded: Int[Tensor, "path time"],
    lengths: Int[Tensor, " path"],
    sites: Sequence[Site],
    batch_tokens: int,
) -> Iterator[tuple[Tensor, dict[Site, Tensor]]]:
    """Run rows of similar length together, longest first, skipping empty rows."""
    order = lengths.argsort(descending=True, stable=True)
    order = order[lengths[order] > 0]
    done = 0
    while done < len(order):
        longest = int(lengths[order[done]])
        rows = order[done : done + max(1, batch_tokens // longest)]
        # padding is on the right, where a causal model does not attend; any id will do
        tokens = padded[rows, :longest].clamp(min=0)
        try:
            with torch.no_grad():
                reads = dict(model.run(tokens, read=sites).reads)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            batch_tokens = smaller(error, len(rows), longest)
            continue
        yield rows, reads
        done += len(rows)


def agree(
    found: Float[Tensor, "*batch dim"], expected: Float[Tensor, "*batch dim"], dtype: str
) -> bool:
    """Whether two computations of the same values in one dtype differ by rounding only."""
    distance = (found.float() - expected.float()).norm()
    limit = TOLERANCE.get(dtype, COARSE)
    return bool(distance <= limit * expected.float().norm())


def smaller(error: Exception, rows: int, longest: int) -> int:
    """Half the tokens of a batch that ran out of memory; raises if it had a single row."""
    if not ran_out(error):
        raise error
    if rows == 1:
        raise OutOfMemory(
            f"memory ran out on a single document of {longest} tokens: give a smaller length "
            "(--length), --dtype bfloat16 or another --device"
        ) from error
    return longest * (rows // 2)
