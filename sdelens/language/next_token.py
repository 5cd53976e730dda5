"""Entropy and surprisal of a language model's next-token predictions along documents."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.paths.documents import Documents
from sdelens.protocols import LanguageModel
from sdelens.states.passes import LOGITS, smaller
from sdelens.states.requirements import require_readable


@dataclass(frozen=True, eq=False)
class NextTokenPredictions:
    """Entropy and surprisal at each position, in nats; NaN after the end of a document."""

    entropy: Float[Tensor, "document time"]
    """Entropy of the next-token law given the tokens up to and including this one."""
    surprisal: Float[Tensor, "document step"]
    """Surprisal of the next token: column p is minus the log probability of token p + 1."""

    def at(
        self, row: Int[Tensor, " row"], position: Int[Tensor, " row"]
    ) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
        """Entropy and surprisal at positions that have a next token."""
        return self.entropy[row, position], self.surprisal[row, position]


@torch.no_grad()
def predict_next_tokens(model: LanguageModel, documents: Documents) -> NextTokenPredictions:
    """Run the model over all documents, in batches of similar length."""
    require_readable(model, documents)
    padded, lengths = documents.padded(), documents.lengths
    rows, columns = padded.shape
    entropy = torch.full((rows, columns), torch.nan, dtype=torch.float64)
    surprisal = torch.full((rows, columns - 1), torch.nan, dtype=torch.float64)
    order = lengths.argsort(descending=True, stable=True)
    order = order[lengths[order] > 0]
    most, done = LOGITS // model.card.vocabulary, 0
    while done < len(order):
        longest = int(lengths[order[done]])
        batch = order[done : done + max(1, most // longest)]
        tokens = padded[batch, :longest]
        try:
            found, nats = _expected(model, tokens)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            most = smaller(error, len(batch), longest)
            continue
        entropy[batch, :longest] = found.masked_fill(tokens < 0, torch.nan)
        surprisal[batch, : longest - 1] = nats.masked_fill(tokens[:, 1:] < 0, torch.nan)
        done += len(batch)
    return NextTokenPredictions(entropy, surprisal)


def _expected(
    model: LanguageModel, tokens: Int[Tensor, "batch time"]
) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch step"]]:
    """Entropies and surprisals of right-padded rows."""
    # padding is on the right, where a causal model does not attend; any id will do
    ids = tokens.clamp(min=0)
    logs = model.run(ids, logits=True).required_logits.float().log_softmax(-1)
    chosen = ids[:, 1:, None].to(logs.device)
    surprisal = -logs[:, :-1].gather(-1, chosen)[..., 0]
    # tokens of probability zero do not contribute to the entropy: 0 log 0 = 0
    entropy = torch.special.entr(logs.exp()).sum(-1)
    return entropy.double().cpu(), surprisal.double().cpu()
