"""Headline, reading, estimates, arrays and strips of generated texts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.study import Study
from sdelens.language.texts import Text, required_model
from sdelens.report import Estimate, Strip
from sdelens.wording import counted, visible
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.generate.continuations import (
    DECODERS,
    FIT,
    IID,
    OWN,
    SAMPLED,
    WALK,
    Continuations,
    key,
    score_table,
)
from sdelens_plugins.analyzers.generate.text_metrics import METRICS, Decode, joined

UNITS = {"nats": "nats per word"}
"""The unit of each metric; the others are shares."""
LOWER_IS_BETTER = ("nats",)
AGAINST_REFERENCE = ("bleu", "rouge1", "rougeL")
"""Metrics that compare with the model's most likely continuation."""
READING = (
    "The fit is simulated step by step from the start; it does not receive the words that its "
    "states were decoded to. States are decoded in two ways. Network: the rest of the network, "
    "from the layer of the fit on, reads them at the positions after the prompt and gives the "
    "most likely next word at each. Nearest: the token of the nearest training state is taken. "
    "The same is done with a random walk and with independent states per position, with noise of "
    "the same structure; their scores need no knowledge of how states move. The rest of the "
    "network is a language model too and produces likely words from nearly any state, so fluency "
    "alone is not due to the fit. Nats are the surprisal of each word under the model (the "
    "exponential of their mean is the perplexity). BLEU and ROUGE compare with the model's most "
    "likely continuation. Many others are as good, so the model's own samples are scored too, for "
    "scale. With start last, the first word is the model's own for all processes. A fit of one "
    "step knows the future through its mean only, and its noise represents the choice between "
    "words, so it cannot be expected to write like the model; this does not count against its "
    "likelihood. Errors are over documents; one prompt is an illustration."
)


@dataclass(frozen=True, eq=False)
class GenerateResults:
    """The continuations of the prompt and of test documents, with their scores."""

    decode: Decode
    prompt: str
    """The part of the prompt that was read."""
    cut: tuple[int, int]
    """The number of positions of the prompt, and of those that were read."""
    first: Continuations
    """The continuations of the prompt."""
    scored: Sequence[Continuations]
    """The continuations of the documents; those of the prompt without documents."""
    scores: Mapping[str, Float[Tensor, "text metric"]]

    @classmethod
    def of(
        cls,
        study: Study,
        prompt: str,
        text: Text,
        first: Continuations,
        others: Sequence[Continuations],
    ) -> "GenerateResults":
        """The results for a prompt with this text, and for the documents."""
        decode, read = required_model(study).decode, len(first.text.ids)
        scored = list(others) or [first]
        prompt = joined(decode, first.text.tokens) if read < len(text.ids) else prompt
        return cls(decode, prompt, (len(text.ids), read), first, scored, score_table(scored))

    def mean(self, row: str, metric: str) -> DocumentMean:
        """The mean of a metric over texts."""
        return text_mean(self.column(row, metric))

    def column(self, row: str, metric: str) -> Float[Tensor, " text"]:
        """A metric of each text."""
        return self.scores[row][:, METRICS.index(metric)]

    def headline(self) -> str:
        """The continuations of the prompt, and the surprisal of the fit's words."""
        fit, own = (
            visible(joined(self.decode, self.first.words[name][0]).strip()).replace("·", " ")
            for name in (key(FIT, "network"), OWN)
        )
        nats, sampled = self.mean(key(FIT, "network"), "nats"), self.mean(SAMPLED, "nats")
        return (
            f"After “{self.prompt}” the fit continues with “{fit}” and the model with “{own}” "
            f"(surprisal per word of the fit: {nats} nats; of the model's samples: {sampled})."
        )

    def reading(self, dropped: int) -> str:
        """How to read the scores; `dropped` is the number of directions that the basis drops."""
        return " ".join([self._leads(), READING, *self._notes(dropped)])

    def _leads(self) -> str:
        """The surprisal of the fit's words relative to the baselines."""
        fit = self.column(key(FIT, "network"), "nats")
        leads = {
            name: text_mean(self.column(key(name, "network"), "nats") - fit)
            for name in (WALK, IID)
        }
        parts = ", ".join(
            f"{lead} nats less than those of {name}"
            if lead.differs_from(0.0) and lead.value > 0
            else f"not significantly less than those of {name} (by {lead} nats)"
            for name, lead in leads.items()
        )
        texts = counted(len(fit), "text" if len(fit) == 1 else "test document")
        return f"Over {texts} the fit's words have a surprisal {parts}."

    def _notes(self, dropped: int) -> list[str]:
        notes = []
        positions, read = self.cut
        if read < positions:
            notes.append(
                f"Of the prompt's {positions} positions the first {read} are read: after all of "
                "them the context has no room for words."
            )
        diverged = sum(each.diverged for each in self.scored) / len(self.scored)
        if diverged:
            notes.append(f"{diverged:.0%} of the fit's paths diverged and were replaced by zeros.")
        if dropped:
            notes.append(
                f"The fit's basis leaves {counted(dropped, 'direction')} out, which simulated "
                "states lack; this affects their words too."
            )
        return notes

    def estimates(self) -> tuple[Estimate, ...]:
        """All scores of the network's words, then the leads of the fit over the baselines."""
        rows: list[Estimate] = []
        writers = {name: key(name, "network") for name in (FIT, WALK, IID)}
        for label in METRICS:
            for name, row in {**writers, SAMPLED: SAMPLED, OWN: OWN}.items():
                if name == OWN and label in AGAINST_REFERENCE:
                    continue  # it is the reference
                mean = self.mean(row, label)
                rows.append(mean.estimate(f"{label} of {name}", UNITS.get(label, "of 1")))
                if label == "nats":
                    rows.append(perplexity(mean, name))
        return (*rows, *(self._lead(d, n, m) for d, n, m in _leads()))

    def _lead(self, decoder: str, null: str, label: str) -> Estimate:
        sign = -1.0 if label in LOWER_IS_BETTER else 1.0
        fit, other = (self.column(key(name, decoder), label) for name in (FIT, null))
        name = f"lead of the fit in {label} over {null}, {decoder}"
        return text_mean(sign * (fit - other)).estimate(name, UNITS.get(label, "of 1"))

    def arrays(self) -> dict[str, Tensor]:
        """States, words and nats after the prompt; scores of the documents (columns: METRICS)."""
        arrays: dict[str, Tensor] = {"prompt.tokens": self.first.text.ids}
        arrays |= {f"states.{name}": states for name, states in self.first.paths.items()}
        arrays |= {f"words.{name}": words for name, words in self.first.words.items()}
        arrays |= {f"nats.{name}": values for name, values in self.first.nats.items()}
        return arrays | {f"scores.{name}": values for name, values in self.scores.items()}

    def strips(self) -> tuple[Strip, ...]:
        """The first continuation of each process, coloured by surprisal."""
        decoded = (key(name, decoder) for name in (FIT, WALK, IID) for decoder in DECODERS)
        return tuple(
            Strip(
                name,
                # a line break is a word here, not the end of a line
                tuple(map(visible, self.decode(self.first.words[name][0].tolist()))),
                tuple(self.first.nats[name][0].tolist()),
                "nats",
            )
            for name in (OWN, SAMPLED, *decoded)
        )


def _leads() -> list[tuple[str, str, str]]:
    """The decoder, the baseline and the metric of every lead."""
    metrics = ("nats", "bleu", "rougeL")
    return [(d, null, label) for d in DECODERS for null in (WALK, IID) for label in metrics]


def text_mean(values: Float[Tensor, " text"]) -> DocumentMean:
    """The mean over texts."""
    return DocumentMean.of(values, torch.arange(len(values)))


def perplexity(nats: DocumentMean, name: str) -> Estimate:
    """The exponential of the mean surprisal, with its error by the delta method."""
    value = math.exp(nats.value)
    stderr = None if nats.stderr is None else value * nats.stderr
    return Estimate(f"perplexity of {name}", value, stderr, f"(n = {nats.documents})")
