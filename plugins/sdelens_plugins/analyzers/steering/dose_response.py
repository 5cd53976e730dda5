"""Texts generated at several doses of a fit's drift and noise, and of control directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.states.distinct_n import distinct_n
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import How, Steering
from sdelens.steering.writer import STEERED, Direction, SteeredTokens, Writer
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.number_list import number_list

FIT, TO_MEAN = "the fit", "to the mean"
OTHER_TOKENS, INCREMENT_DRAWS, MODEL_MEAN = "other tokens", "increment draws", "m* - X"
CONTROLS = (OTHER_TOKENS, INCREMENT_DRAWS, TO_MEAN, MODEL_MEAN)
"""Directions that replace the fit's, with the length of its displacements."""
METRICS = (
    *("first kl", "first entropy", "kl", "nats", "entropy"),
    *("distinct1", "distinct2", "repeated4"),
)
"""Of the token after the first steered state; means over all tokens after a steered state; of the
whole text."""


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """All metrics of every text, unsteered and by direction and dose."""

    steerings: tuple[Steering, ...]
    unsteered: Float[Tensor, "text metric"]
    scores: Mapping[str, Float[Tensor, "dose text metric"]]

    @classmethod
    def of(
        cls,
        writer: Writer,
        directions: Mapping[str, Direction | None],
        ids: Int[Tensor, "text token"],
        steerings: Sequence[Steering],
        *,
        steps: int,
        seed: int,
    ) -> "DoseResponse":
        """Runs all doses of one kind and direction in one batch, with the same draws per text."""
        uniform = uniforms(torch.arange(len(ids)), (steps,), seed, STEERED)
        unsteered = text_scores(steered_texts(writer, ids, [Steering()], uniform), len(ids))[0]
        scores = {}
        for name, direction in directions.items():
            scores[name] = unsteered.new_empty(len(steerings), *unsteered.shape)
            for how, batch in by_how(steerings).items():
                texts = steered_texts(
                    replace(writer, direction=direction, how=how), ids, batch, uniform
                )
                rows = [steerings.index(steering) for steering in batch]
                scores[name][rows] = text_scores(texts, len(ids))
        return cls(tuple(steerings), unsteered, scores)

    def __getitem__(self, key: tuple[str, Steering, str]) -> Float[Tensor, " text"]:
        """The scores for a direction, a dose and a metric."""
        direction, steering, metric = key
        return self.scores[direction][self.steerings.index(steering)][:, METRICS.index(metric)]

    def unsteered_scores(self, metric: str) -> Float[Tensor, " text"]:
        """The scores of the unsteered texts."""
        return self.unsteered[:, METRICS.index(metric)]

    def change(self, direction: str, steering: Steering, metric: str) -> DocumentMean:
        """Steered less unsteered, paired by text."""
        return text_mean(self[direction, steering, metric] - self.unsteered_scores(metric))

    def lead(self, control: str, steering: Steering, metric: str) -> DocumentMean:
        """The fit's direction less a control, paired by text."""
        return text_mean(self[FIT, steering, metric] - self[control, steering, metric])


def by_how(steerings: Sequence[Steering]) -> dict[How, list[Steering]]:
    """Doses that can be in one batch, by kind of steering."""
    batches: dict[How, list[Steering]] = {}
    for steering in steerings:
        batches.setdefault(steering.how, []).append(steering)
    return batches


def text_mean(values: Float[Tensor, " text"]) -> DocumentMean:
    """The mean over texts and its error."""
    return DocumentMean.of(values, torch.arange(len(values)))


def steered_texts(
    writer: Writer,
    ids: Int[Tensor, "text token"],
    steerings: Sequence[Steering],
    uniform: Float[Tensor, "text step"],
) -> SteeredTokens:
    """Texts by dose, then by prompt, all steered in the writer's direction and way."""
    count, doses = len(ids), len(steerings)
    drift, diffusion = (
        repeat(torch.tensor(values), "dose -> (dose text)", text=count)
        for values in ([s.dose for s in steerings], [s.diffusion for s in steerings])
    )
    rows = repeat(torch.arange(count), "text -> (dose text)", dose=doses)
    return writer.write(ids[rows], drift, diffusion, uniform[rows], rows)


def text_scores(tokens: SteeredTokens, texts: int) -> Float[Tensor, "dose text metric"]:
    """All metrics of each text; the first token follows the prompt and is left out."""
    repetition = torch.tensor(
        [[distinct_n(row, length) for length in (1, 2, 4)] for row in tokens.words],
        dtype=torch.float64,
    )
    repetition[:, 2] = 1 - repetition[:, 2]
    kl, nats, entropy = (part[:, 1:] for part in (tokens.kl, tokens.nats, tokens.entropy))
    columns = (kl[:, 0], entropy[:, 0], kl.mean(1), nats.mean(1), entropy.mean(1))
    scores = torch.cat([torch.stack(columns, 1), repetition], 1)
    return rearrange(scores, "(dose text) metric -> dose text metric", text=texts)


def parse_doses(text: str, part: str) -> list[Steering]:
    """The doses of a setting, numbers separated by commas; a dose without effect is left out."""
    numbers = number_list(text, part, "-1,0.5,1")
    steerings = [Steering(**{part: dose}) for dose in sorted(set(numbers))]
    if not (effective := [steering for steering in steerings if steering != Steering()]):
        raise UsageError(f"{part} must have a dose that changes something, got {text!r}")
    return effective
