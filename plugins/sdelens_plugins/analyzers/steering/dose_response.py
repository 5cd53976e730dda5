"""Texts that are written at several doses of a fit's drift and noise, and of other directions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.states.distinct_n import distinct_n
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import How, Steering
from sdelens.steering.writer import STEERED, Direction, SteeredTokens, Writer
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.number_list import number_list

FIT, OTHERS, DRAWN, OWN = "the fit", "other tokens", "increment draws", "m* - X"
MEAN = "to the mean"
CONTROLS = (OTHERS, DRAWN, MEAN, OWN)
"""Whose displacements stand in the place of the fit's, as long as its own."""
METRICS = (
    *("first kl", "first entropy", "kl", "nats", "entropy"),
    *("distinct1", "distinct2", "repeated4"),
)
"""Of the word after the first steered state; then means over all words after a steered state, and
of the whole text."""


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """Every metric of every text, unsteered, and by direction and steering."""

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
        """All doses of one kind and direction in one batch; a text's draws are always the same."""
        uniform = uniforms(torch.arange(len(ids)), (steps,), seed, STEERED)
        own = scored(dose_responses(writer, ids, [Steering()], uniform), len(ids))[0]
        scores = {}
        for name, direction in directions.items():
            found = own.new_empty(len(steerings), *own.shape)
            for how, chosen in by_how(steerings).items():
                steered = replace(writer, direction=direction, how=how)
                numbers = [steerings.index(steering) for steering in chosen]
                found[numbers] = scored(dose_responses(steered, ids, chosen, uniform), len(ids))
            scores[name] = found
        return cls(tuple(steerings), own, scores)

    def __getitem__(self, place: tuple[str, Steering, str]) -> Float[Tensor, " text"]:
        """Of a direction at a dose, one metric."""
        name, steering, metric = place
        return self.scores[name][self.steerings.index(steering)][:, METRICS.index(metric)]

    def own(self, metric: str) -> Float[Tensor, " text"]:
        """Of the unsteered texts."""
        return self.unsteered[:, METRICS.index(metric)]

    def change(self, name: str, steering: Steering, metric: str) -> DocumentMean:
        """By how much steering changes it, paired by text."""
        return over_texts(self[name, steering, metric] - self.own(metric))

    def lead(self, name: str, steering: Steering, metric: str) -> DocumentMean:
        """By how much the fit's direction is above another one, paired by text."""
        return over_texts(self[FIT, steering, metric] - self[name, steering, metric])


def by_how(steerings: Sequence[Steering]) -> dict[How, list[Steering]]:
    """Those that can be in one batch."""
    found: dict[How, list[Steering]] = {}
    for steering in steerings:
        found.setdefault(steering.how, []).append(steering)
    return found


def over_texts(values: Float[Tensor, " text"]) -> DocumentMean:
    """The mean, its error over texts."""
    return DocumentMean.of(values, torch.arange(len(values)))


def dose_responses(
    writer: Writer,
    ids: Int[Tensor, "text token"],
    steerings: Sequence[Steering],
    uniform: Float[Tensor, "text step"],
) -> SteeredTokens:
    """Rows by steering, then by text; how it is done with the drift is the writer's."""
    count, doses = len(ids), len(steerings)
    drift, diffusion = (
        torch.tensor([getattr(s, part) for s in steerings]).repeat_interleave(count)
        for part in ("dose", "diffusion")
    )
    rows = torch.arange(count).repeat(doses)
    return writer.write(ids[rows], drift, diffusion, uniform[rows], rows)


def scored(dose_responses: SteeredTokens, texts: int) -> Float[Tensor, "dose text metric"]:
    """One row for each text of each dose; the first word follows the prompt and does not count."""
    repeats = [[distinct_n(row, length) for length in (1, 2, 4)] for row in dose_responses.words]
    kl, nats, entropy = (
        part[:, 1:] for part in (dose_responses.kl, dose_responses.nats, dose_responses.entropy)
    )
    columns = (kl[:, 0], entropy[:, 0], kl.mean(1), nats.mean(1), entropy.mean(1))
    said = torch.tensor(repeats, dtype=torch.float64)
    said[:, 2] = 1 - said[:, 2]
    return torch.cat([torch.stack(columns, 1), said], 1).reshape(-1, texts, len(METRICS))


def parsed(text: str, part: str) -> list[Steering]:
    """The doses of a setting, numbers by commas; the one that changes nothing is no dose."""
    found = number_list(text, part, "-1,0.5,1")
    doses = [Steering(**{part: dose}) for dose in sorted(set(found))]
    if not (moving := [steering for steering in doses if steering != Steering()]):
        raise UsageError(f"{part} must have a dose that changes something, got {text!r}")
    return moving
