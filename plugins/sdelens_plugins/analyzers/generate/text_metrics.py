"""Scores of generated texts: surprisal, BLEU, ROUGE and distinct-n."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.states.distinct_n import distinct_n

METRICS = ("nats", "bleu", "rouge1", "rougeL", "distinct1", "distinct2")
"""The columns of `text_scores`; all but the first are from 0 to 1."""
Decode = Callable[[Sequence[int]], list[str]]


def text_scores(
    decode: Decode,
    words: Int[Tensor, "row step"],
    nats: Float[Tensor, "row step"],
    reference: Int[Tensor, " step"],
) -> Float[Tensor, " metric"]:
    """The mean over rows of every metric; BLEU and ROUGE use the decoded texts."""
    target = joined(decode, reference)
    rows = [
        (
            *reference_scores(joined(decode, row), target),
            distinct_n(row, 1),
            distinct_n(row, 2),
        )
        for row in words
    ]
    others = torch.tensor(rows, dtype=torch.float64).mean(0)
    return torch.cat([nats.double().mean()[None], others])


def joined(decode: Decode, words: Int[Tensor, " step"]) -> str:
    """The decoded text of tokens."""
    return "".join(decode(words.tolist()))


def reference_scores(text: str, reference: str) -> tuple[float, float, float]:
    """BLEU (Papineni et al. 2002, as in sacrebleu), ROUGE-1 and ROUGE-L (Lin 2004)."""
    from rouge_score.rouge_scorer import RougeScorer
    from sacrebleu import sentence_bleu

    rouge = RougeScorer(["rouge1", "rougeL"]).score(reference, text)
    bleu = sentence_bleu(text, [reference]).score / 100
    # rouge_score returns the integer 0 for a text without letters and digits
    return bleu, float(rouge["rouge1"].fmeasure), float(rouge["rougeL"].fmeasure)
