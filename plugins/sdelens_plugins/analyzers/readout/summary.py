"""What pushes of states say, each way and beside random ones, as numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.language.texts import Places, Text
from sdelens.report import Estimate, visible
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.readout.logit_change import LogitChange
from sdelens_plugins.analyzers.readout.words import LEAST, Decode

WAYS = {"network": "through the network", "lens": "unembedding alone"}
KINDS = {
    "sphere": "drift among random directions",
    "steps": "drift among increments of training texts",
    "noise": "first noise direction among random directions",
}


@dataclass(frozen=True, eq=False)
class ReadoutSummary:
    """Pushes of some states, and what they say each way."""

    places: Places
    pushes: Float[Tensor, "place push dim"]
    said: Mapping[str, LogitChange]
    directions: int
    random: int

    def null(self, kind: str) -> slice:
        """Which pushes are the random ones of a kind: sphere, steps, noise."""
        first = 2 + 2 * self.directions
        first += self.random * ("sphere", "steps", "noise").index(kind)
        return slice(first, first + self.random)

    def average(self, values: Float[Tensor, " place"]) -> DocumentMean:
        """Over the places, with errors over texts."""
        return DocumentMean.of(values, self.places.text)

    def rank(self, way: str, kind: str) -> DocumentMean:
        """Of the drift's divergence among random ones; of the noise's for the kind noise."""
        own = 1 if kind == "noise" else 0
        return self.average(self.said[way].rank(own, self.null(kind)))

    def lead(self, way: str, target: int, over: slice) -> DocumentMean:
        """The drift's gain in a word's log probability, above the mean gain of other pushes."""
        gain = self.said[way].gain[..., target]
        return self.average(gain[:, 0] - gain[:, over].mean(1))

    @property
    def centre(self) -> slice:
        """The push to the mean state of training."""
        return slice(1 + 2 * self.directions, 2 + 2 * self.directions)


def ranks(read: ReadoutSummary) -> dict[str, dict[str, DocumentMean]]:
    """By way and by kind of null."""
    return {way: {kind: read.rank(way, kind) for kind in KINDS} for way in WAYS}


def on_ranks(read: ReadoutSummary) -> str:
    """Whether the drift says more than chance."""
    sphere, steps = (read.rank("network", kind) for kind in ("sphere", "steps"))
    kl = read.average(read.said["network"].kl[:, 0])
    more = steps.differs_from(0.5) and steps.value > 0.5
    if more:
        judged = "it says more than the step of another text"
    elif steps.stderr is None:
        judged = "from one text this cannot be judged"
    else:
        judged = "it does not say more than the step of another text"
    return (
        f"Pushed by the drift, the law of the next word changes by {kl} nats, more than under "
        f"{sphere.percent} of random directions as long and {steps.percent} of training "
        f"increments (chance 50%): {judged}."
    )


def on_words(decode: Decode, text: Text, read: ReadoutSummary) -> str:
    """The words at the place where the drift says most."""
    found = read.said["network"]
    place = int(found.kl[:, 0].argmax())
    after = visible(decode([int(text.tokens[place])])[0])
    if float(found.raised_by[place, 0, 0]) < LEAST:
        return f"Along {text.name} it raises no word."
    up, down = (
        ", ".join(f"“{visible(word)}”" for word in decode(ids[place, 0, :3].tolist()))
        for ids in (found.raised, found.lowered)
    )
    return (
        f"Along {text.name} it says most after “{after}” "
        f"({float(found.kl[place, 0]):.2g} nats), where it raises {up} and lowers {down}."
    )


def estimates(read: ReadoutSummary) -> tuple[Estimate, ...]:
    """Over documents; where there are none, over the one text without errors."""
    found = []
    for way, label in WAYS.items():
        one = read.said[way]
        for kind, of in KINDS.items():
            found.append(read.rank(way, kind).estimate(f"rank of {of}, {label}", "0.5 is chance"))
        for name, push in {"drift": 0, "first noise direction": 1}.items():
            kl = read.average(one.kl[:, push])
            found.append(kl.estimate(f"divergence by the {name}, {label}", "nats"))
        largest = read.average(one.largest[:, 0])
        found.append(largest.estimate(f"largest change by the drift, {label}", "logits"))
        for target, word in enumerate(("next word", "word after next")):
            name = f"drift's gain for the {word}, {label}"
            own = read.average(one.gain[:, 0, target])
            found.append(own.estimate(name, "nats"))
            for null, over in {
                "increments'": read.null("steps"),
                "mean state's": read.centre,
            }.items():
                above = read.lead(way, target, over)
                found.append(above.estimate(f"{name}, above the {null}", "nats"))
    length = read.average(read.pushes[:, 0].norm(dim=-1))
    found.append(length.estimate("length of the drift", "states per step"))
    return tuple(found)


def arrays(text: Text, shown: ReadoutSummary, many: ReadoutSummary) -> dict[str, Tensor]:
    """Everything read, by push: drift, noise one way and the other, then the random ones."""
    named = {"positions": text.at, "tokens": text.tokens, "documents.text": many.places.text}
    named["documents.positions"] = many.places.at
    for way in WAYS:
        named |= {f"{way}.{k}": v for k, v in shown.said[way].tensors().items()}
        kept = ("kl", "largest", "gain")
        named |= {f"documents.{way}.{k}": getattr(many.said[way], k) for k in kept}
    return named
