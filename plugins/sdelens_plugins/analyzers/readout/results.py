"""Sentences, estimates and arrays of a readout."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.language.texts import Places, Text
from sdelens.report import Estimate
from sdelens.wording import visible
from sdelens_plugins.analyzers.common.document_means import DocumentMean
from sdelens_plugins.analyzers.common.word_list import quoted
from sdelens_plugins.analyzers.readout.logit_change import LogitChange
from sdelens_plugins.analyzers.readout.pushes import NULLS, null_pushes
from sdelens_plugins.analyzers.readout.words import SMALLEST_CHANGE, Decode

DRIFT, NOISE = 0, 1
"""Columns of the pushes along the drift and along the first noise direction."""
ROUTES = {"network": "through the network", "lens": "unembedding alone"}
"""How a push acts on the next token."""
RANKS = {
    "sphere": "drift among random directions",
    "steps": "drift among increments of training texts",
    "noise": "first noise direction among random directions",
}
READING = (
    "Each state is pushed by the step that the fit expects (the drift over one step) or by one "
    "standard deviation along a leading direction of its noise. The model's next-token "
    "distribution is read with and without the push, in two ways: through the rest of the network "
    "from the fit's layer on, with all earlier states unchanged; and through the final norm and "
    "the unembedding alone (the logit lens), which is the same at the last layer. Any push of "
    "some length raises some words: they mean something only if the distribution changes more "
    "than under other directions of the same length. There are two kinds of these. Directions "
    "uniform on the sphere mostly lie where states hardly vary and the network hardly reacts. "
    "Increments of training texts are the harder null: a drift that does not rank above them says "
    "no more than the step of any other text. A rank is the share of these directions with a "
    "smaller divergence, so 50% is chance; errors are over documents. The sign of a noise "
    "direction is arbitrary, so both signs are reported. Whether the drift points to the coming "
    "words is measured by the gains in log probability, compared with those of training "
    "increments and of a push all the way to the mean state; the drift does not know which token "
    "comes next, so it raises what follows on average. Pushed states may be states that the "
    "model never visits; nothing here shows that the model itself computes with the drift."
)


@dataclass(frozen=True, eq=False)
class ReadoutResults:
    """Pushes of some states, and their effect on the next token by route (`ROUTES`)."""

    places: Places
    pushes: Float[Tensor, "place push dim"]
    changes: Mapping[str, LogitChange]
    directions: int
    """Noise directions."""
    random: int
    """Random pushes of each kind."""

    def null(self, kind: str) -> slice:
        """The random pushes of a kind: sphere, steps or noise."""
        return null_pushes(kind, directions=self.directions, random=self.random)

    @property
    def to_mean(self) -> slice:
        """The push to the mean training state."""
        return slice(1 + 2 * self.directions, 2 + 2 * self.directions)

    def average(self, values: Float[Tensor, " place"]) -> DocumentMean:
        """The mean over places, with errors over texts."""
        return DocumentMean.of(values, self.places.text)

    def rank(self, route: str, kind: str) -> DocumentMean:
        """The rank of the drift's divergence among random pushes; of the noise's for `noise`."""
        push = NOISE if kind == "noise" else DRIFT
        return self.average(self.changes[route].rank(push, self.null(kind)))

    @property
    def ranks(self) -> dict[str, dict[str, DocumentMean]]:
        """Ranks by route and by kind of random push."""
        return {route: {kind: self.rank(route, kind) for kind in NULLS} for route in ROUTES}

    def lead(self, route: str, target: int, null: slice) -> DocumentMean:
        """The drift's gain in a token's log probability, less the mean gain of other pushes."""
        gain = self.changes[route].gain[..., target]
        return self.average(gain[:, DRIFT] - gain[:, null].mean(1))


def headline(decode: Decode, text: Text, local: ReadoutResults, overall: ReadoutResults) -> str:
    """Whether the drift says more than other texts' steps, and which words it raises."""
    rank = overall.rank("network", "steps")
    if rank.stderr is None:
        judgement = "one text, so this cannot be judged"
    elif rank.differs_from(0.5) and rank.value > 0.5:
        judgement = "above chance"
    else:
        judgement = "not shown to be above chance"
    return (
        "The drift changes the next-token distribution more than "
        f"{rank.percent} of training increments of the same length do ({judgement}); along "
        f"{text.name} it {_raised(decode, text, local)}."
    )


def _raised(decode: Decode, text: Text, result: ReadoutResults) -> str:
    """The words that the drift raises at the place where it changes most."""
    change = result.changes["network"]
    place = int(change.kl[:, DRIFT].argmax())
    if float(change.raised_by[place, DRIFT, 0]) < SMALLEST_CHANGE:
        return "raises no word"
    after = visible(decode([int(text.tokens[place])])[0])
    up, down = (
        quoted(decode(ids[place, DRIFT, :3].tolist())) for ids in (change.raised, change.lowered)
    )
    return f"has its largest effect after “{after}”, where it raises {up} and lowers {down}"


def estimates(result: ReadoutResults) -> tuple[Estimate, ...]:
    """Ranks, divergences and gains, over documents; without errors if there is one text."""
    rows = []
    for route, label in ROUTES.items():
        change = result.changes[route]
        for kind, name in RANKS.items():
            rank = result.rank(route, kind)
            rows.append(rank.estimate(f"rank of {name}, {label}", "0.5 is chance"))
        for name, push in {"drift": DRIFT, "first noise direction": NOISE}.items():
            kl = result.average(change.kl[:, push])
            rows.append(kl.estimate(f"divergence by the {name}, {label}", "nats"))
        largest = result.average(change.largest[:, DRIFT])
        rows.append(largest.estimate(f"largest change by the drift, {label}", "logits"))
        for target, token in enumerate(("next token", "token after next")):
            name = f"log probability gain of the {token} by the drift, {label}"
            gain = result.average(change.gain[:, DRIFT, target])
            rows.append(gain.estimate(name, "nats"))
            nulls = {"training increments": result.null("steps"), "the mean state": result.to_mean}
            for other, null in nulls.items():
                lead = result.lead(route, target, null)
                rows.append(lead.estimate(f"{name}, less that of {other}", "nats"))
    length = result.average(result.pushes[:, DRIFT].norm(dim=-1))
    rows.append(length.estimate("length of the drift", "residual-stream units per step"))
    return tuple(rows)


def arrays(text: Text, local: ReadoutResults, overall: ReadoutResults) -> dict[str, Tensor]:
    """Changes by push: drift, noise directions with both signs, mean state, random pushes."""
    named = {
        "positions": text.at,
        "tokens": text.tokens,
        "documents.text": overall.places.text,
        "documents.positions": overall.places.at,
    }
    for route in ROUTES:
        named |= {f"{route}.{k}": v for k, v in local.changes[route].tensors().items()}
        for name in ("kl", "largest", "gain"):
            named[f"documents.{route}.{name}"] = getattr(overall.changes[route], name)
    return named
