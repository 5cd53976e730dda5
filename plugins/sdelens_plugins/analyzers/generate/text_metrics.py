"""Generated words against a reference: BLEU, ROUGE, distinct-n and the model's surprise."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.states.distinct_n import distinct_n

METRICS = ("nats", "bleu", "rouge1", "rougeL", "distinct1", "distinct2")
"""Columns of `scored`. All but the first are from 0 to 1."""
Decode = Callable[[Sequence[int]], list[str]]


def scored(
    decode: Decode,
    words: Int[Tensor, "row step"],
    surprise: Float[Tensor, "row step"],
    reference: Int[Tensor, " step"],
) -> Float[Tensor, " metric"]:
    """The mean over rows of every metric; BLEU and ROUGE on the decoded texts."""
    target = joined(decode, reference)
    rows = [
        (
            *compared(joined(decode, row), target),
            distinct_n(row, 1),
            distinct_n(row, 2),
        )
        for row in words
    ]
    others = torch.tensor(rows, dtype=torch.float64).mean(0)
    return torch.cat([surprise.double().mean()[None], others])


def joined(decode: Decode, words: Int[Tensor, " step"]) -> str:
    """The text of tokens."""
    return "".join(decode(words.tolist()))


def compared(text: str, reference: str) -> tuple[float, float, float]:
    """BLEU (Papineni et al. 2002, as sacrebleu has it), ROUGE-1 and ROUGE-L (Lin 2004)."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_bleu

    rouge = RougeScorer(["rouge1", "rougeL"]).score(reference, text)
    bleu = sentence_bleu(text, [reference]).score / 100
    # rouge_score gives the integer 0 where nothing is left of a text without its signs
    return bleu, float(rouge["rouge1"].fmeasure), float(rouge["rougeL"].fmeasure)
