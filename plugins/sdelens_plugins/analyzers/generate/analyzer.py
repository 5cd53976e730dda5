"""Where the fit goes on from a prompt, in words (the paper's Appendix B and Figure 7)."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.prompt import QUESTION
from sdelens.language.texts import Text, held_out_texts, prompt_text, required_model
from sdelens.report import Estimate, Finding, Strip, counted, visible
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.generate.continuations import (
    DECODERS,
    FIT,
    IID,
    OWN,
    SAMPLED,
    WALK,
    GeneratedTexts,
    Generators,
    generated_texts,
    key,
    metric,
    table,
)
from sdelens_plugins.analyzers.generate.figures import UNITS, figures
from sdelens_plugins.analyzers.generate.text_metrics import METRICS, Decode, joined

LOWER = {"nats": -1.0}
"""Metrics of which less is better."""
READING = (
    "From the start, the fit is simulated step by step; it is never told which words its states "
    "became. States are said in words in two ways: the rest of the network, from the fit's layer "
    "on, reads them at the positions after the prompt and gives the likeliest next word at each; "
    "and each state is looked up among training states, whose nearest one's token is taken. The "
    "same is done with a random walk and with states drawn for each position by itself, with "
    "noise of the same structure: what they reach is reached without knowing how states move. "
    "The rest of the network is a language model too and makes likely words of nearly any state, "
    "so that fluency by itself is not the fit's. Nats are the model's own surprise at each word "
    "(the exponential of their mean is the perplexity); BLEU and ROUGE compare with the model's "
    "likeliest continuation, of which many others are as good, so that its own draws are scored "
    "too: they are the scale. With start last, the first word is the model's own for all. A fit "
    "of one step knows the future through its mean only, and its noise stands for the words it "
    "does not choose: it cannot be expected to write like the model, and that it does not is no "
    "fault of its likelihood. Errors are over documents; one prompt is an illustration."
)


@dataclass(frozen=True)
class GenerateAnalyzer:
    """A prompt, and test documents, continued by `tokens` words from simulated states.

    It starts at the prompt's last state, or at the mean of its states (`start`), with `paths`
    paths for each text; without a prompt at `question`. Test documents are the first `documents`,
    each from its first `prefix` states. At `temperature` 0 the likeliest words are taken.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"

    tokens: int = 20
    start: str = "last"
    paths: int = 4
    documents: int = 16
    prefix: int = 16
    temperature: float = 0.0
    question: str = QUESTION

    def __post_init__(self) -> None:
        if self.start not in ("last", "mean"):
            raise UsageError(f"start must be last or mean, got {self.start!r}")
        for name in ("tokens", "paths", "prefix"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.documents < 0 or self.temperature < 0:
            raise UsageError("documents and temperature must be 0 or more")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        prompt = study.prompt or self.question
        writers = Generators.of(viewed)
        whole = prompt_text(study, prompt)
        found = held_out_texts(study, documents=self.documents, states=3)
        texts = [whole, *(text.first(self.prefix) for text in found)]
        shown, *many = generated_texts(
            study,
            writers,
            texts,
            start=self.start,
            steps=self.tokens,
            rows=self.paths,
            temperature=self.temperature,
            seed=seed,
        )
        many = many or [shown]
        cut = len(shown.text.ids) < len(whole.ids)
        scores, decode = table(many), required_model(study).decode
        asked = joined(decode, shown.text.tokens) if cut else prompt
        return Finding(
            view=str(view),
            headline=f"{on_prompt(decode, asked, shown)} {on_documents(scores)}",
            reading=" ".join([READING, *notes(whole, shown, many, viewed.fitted.basis.left)]),
            estimates=estimates(scores),
            arrays=arrays(shown, scores),
            figures=figures(viewed, decode, shown, many, scores),
            strips=strips(decode, shown),
            prompt=study.prompt,
        )


def average(values: Float[Tensor, " text"]) -> DocumentMean:
    """Over texts."""
    return DocumentMean.of(values, torch.arange(len(values)))


def on_prompt(decode: Decode, prompt: str, shown: GeneratedTexts) -> str:
    """What the fit says, and what the model does."""
    said, own = (
        visible(joined(decode, shown.words[name][0]).strip()).replace("·", " ")
        for name in (key(FIT, "network"), OWN)
    )
    return f"After “{prompt}” the fit goes on “{said}”, the model itself “{own}”."


def on_documents(scores: Mapping[str, Tensor]) -> str:
    """What its words are worth, beside the nulls'."""
    own, walk, iid = (scores[key(name, "network")] for name in (FIT, WALK, IID))
    fit, drawn = (average(metric(values, "nats")) for values in (own, scores[SAMPLED]))
    gains = {
        name: average(metric(null, "nats") - metric(own, "nats"))
        for name, null in ((WALK, walk), (IID, iid))
    }
    texts = counted(fit.documents, "text" if fit.documents == 1 else "test document")
    parts = ", ".join(
        f"{gain} less than those of {name}"
        if gain.differs_from(0.0) and gain.value > 0
        else f"not shown to be less than those of {name} (by {gain})"
        for name, gain in gains.items()
    )
    return (
        f"Over {texts} its words cost {fit} nats each under the model, {parts}; the model's own "
        f"draws cost {drawn}."
    )


def notes(whole: Text, shown: GeneratedTexts, many: list[GeneratedTexts], left: int) -> list[str]:
    """What a reader of these numbers should know of this prompt and this fit."""
    found = []
    if len(shown.text.ids) < len(whole.ids):
        found.append(
            f"Of the prompt's {len(whole.ids)} positions the first {len(shown.text.ids)} are "
            "read: after all of them the context has no room for words."
        )
    lost = sum(one.diverged for one in many) / len(many)
    if lost:
        found.append(f"{lost:.0%} of the fit's paths diverged; zeros were read in their place.")
    if left:
        found.append(
            f"The fit's basis leaves {counted(left, 'direction')} out, which simulated states "
            "lack: what the network does with them is not theirs alone to answer for."
        )
    return found


def estimates(scores: Mapping[str, Float[Tensor, "text metric"]]) -> tuple[Estimate, ...]:
    """Every score of the network's words, then by how much the fit is above the nulls."""
    named = {name: key(name, "network") for name in (FIT, WALK, IID)}
    found = []
    for label in METRICS:
        for name, row in {**named, SAMPLED: SAMPLED, OWN: OWN}.items():
            if name == OWN and label in ("bleu", "rouge1", "rougeL"):
                continue  # it is what is compared with
            value = average(metric(scores[row], label))
            found.append(value.estimate(f"{label} of {name}", UNITS[label]))
            if label == "nats":
                found.append(perplexity(value, name))
    for decoder in DECODERS:
        own = scores[key(FIT, decoder)]
        for null in (WALK, IID):
            other = scores[key(null, decoder)]
            for label in ("nats", "bleu", "rougeL"):
                sign = LOWER.get(label, 1.0)
                lead = average(sign * (metric(own, label) - metric(other, label)))
                name = f"lead of the fit in {label} over {null}, {decoder}"
                found.append(lead.estimate(name, UNITS[label]))
    return tuple(found)


def perplexity(nats: DocumentMean, name: str) -> Estimate:
    """The exponential of the mean surprise, its error by the delta method."""
    value = math.exp(nats.value)
    stderr = None if nats.stderr is None else value * nats.stderr
    return Estimate(f"perplexity of {name}", value, stderr, f"(n = {nats.documents})")


def arrays(shown: GeneratedTexts, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """States, words and nats after the prompt; scores of every document (columns: METRICS)."""
    named: dict[str, Tensor] = {"prompt.tokens": shown.text.ids}
    named |= {f"states.{name}": states for name, states in shown.paths.items()}
    named |= {f"words.{name}": words for name, words in shown.words.items()}
    named |= {f"nats.{name}": values for name, values in shown.nats.items()}
    return named | {f"scores.{name}": values for name, values in scores.items()}


def strips(decode: Decode, shown: GeneratedTexts) -> tuple[Strip, ...]:
    """The first continuation of each writer, coloured by the model's surprise."""
    order = [OWN, SAMPLED, *(key(name, d) for name in (FIT, WALK, IID) for d in DECODERS)]
    return tuple(
        Strip(
            name,
            tuple(decode(shown.words[name][0].tolist())),
            tuple(shown.nats[name][0].tolist()),
            "nats",
        )
        for name in order
    )
