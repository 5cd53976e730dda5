"""What drift and diffusion say: the words that a push along them raises and lowers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study, Viewed
from sdelens.language.onward import last_site
from sdelens.language.readout import UNITS, Said, as_long_as, isotropic, leading, said
from sdelens.language.texts import Places, Text, asked, held_out, model_of
from sdelens.report import Estimate, Finding, visible
from sdelens.seeds import derive
from sdelens_plugins.analyzers.averages import Average
from sdelens_plugins.analyzers.readout_figures import LEAST, Decode, figures, strips

WAYS = {"network": "through the network", "lens": "unembedding alone"}
NUMBERS = 2**26
"""Entries of covariances that are held in memory together."""
READING = (
    "Each state is pushed by what the fit expects of the next step (the drift, over one step) or "
    "by one standard deviation along a leading direction of its noise, and the model's own law of "
    "the next word is read with and without the push: through the rest of the network from the "
    "fit's layer on, with all earlier states left as they are, and through the final norm and the "
    "unembedding alone (the logit lens), which is the same thing at the last layer. A push of "
    "some length always raises some words: they mean something only where the law changes by more "
    "than under random directions of the same length. There are two kinds: uniform on the sphere, "
    "most of which lie where states hardly vary and the network hardly listens, and increments of "
    "training texts, the harder null: a drift that is not above them says no more than the step "
    "of any other text would. Ranks are shares of these directions with a smaller divergence, so "
    "that 50% is chance; errors are over documents. The sign of a direction of the noise is "
    "arbitrary: one way and the other are both shown. Whether the drift points at the words to "
    "come is told by the gains in log probability, which are compared with those of training "
    "increments and of a push all the way to the mean state; the drift does not know which word "
    "comes next, and what it raises is what follows on average. Pushed states may lie where the "
    "model never is; nothing here shows that the model itself computes with the drift."
)


@dataclass(frozen=True)
class ReadoutAnalyzer:
    """The words that the drift and the leading directions of the noise raise and lower.

    The first `tokens` states of the prompt, or of a test document, are shown with `words` words
    each, by change of their `by` (logit or probability), and `directions` of the noise; ranks are
    among `random` directions of each kind, at
    `places` states of each of the first `documents` test documents.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    scope: ClassVar[str] = "view"

    tokens: int = 24
    words: int = 5
    by: str = "logit"
    directions: int = 2
    random: int = 16
    documents: int = 24
    places: int = 2

    def __post_init__(self) -> None:
        for name in ("tokens", "words", "directions", "random", "documents", "places"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}")

        if self.by not in UNITS:
            raise UsageError(f"by must be {' or '.join(UNITS)}, got {self.by!r}")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, _ = study.single
        text = asked(study, tokens=self.tokens)
        shown = self._read(study, Places.all_of(text), derive(seed, "shown"))
        texts = held_out(study, documents=self.documents, states=3)
        many = shown
        if texts:
            places = Places.spread(texts, each=self.places, before_end=2)
            many = self._read(study, places, derive(seed, "documents"))
        spoken = model_of(study)
        return Finding(
            analyzer="readout",
            view=str(view),
            headline=f"{on_ranks(many)} {on_words(spoken.decode, text, shown)}",
            reading=READING,
            estimates=estimates(many),
            arrays=arrays(text, shown, many),
            figures=figures(spoken.decode, text, shown, ranks(many), len(texts), self.by),
            strips=strips(spoken.decode, text, shown, self.words, self.by),
            prompt=study.prompt,
        )

    def _read(self, study: Study, places: Places, seed: int) -> "Read":
        """All pushes of some states, read both ways."""
        view, viewed = study.single
        model = model_of(study)
        pushes = self._pushes(viewed, places, seed)
        targets = torch.stack([places.word(1), places.word(2)], dim=1)
        ways = {"network": (view.site, places), "lens": (last_site(model), places.alone())}
        found = {
            name: said(model, site, at, pushes, words=self.words, by=self.by, targets=targets)
            for name, (site, at) in ways.items()
        }
        # a narrow state has fewer directions than were asked for
        directions = min(self.directions, places.states.shape[1])
        return Read(places, pushes, found, directions, self.random)

    def _pushes(
        self, viewed: Viewed, places: Places, seed: int
    ) -> Float[Tensor, "place push dim"]:
        """Drift, noise one way and the other, to the mean state, then random directions."""
        fitted, x = viewed.fitted, places.states
        drift, noise = step_of(fitted, places, self.directions)
        both = torch.stack([noise, -noise], dim=2).flatten(1, 2)
        count, dim = x.shape
        sphere = isotropic(count, 2 * self.random, dim, seed=seed)
        some = next(iter(viewed.train.transitions(count * self.random, derive(seed, "train"))))
        steps = (some.following - some.x).cpu()
        steps = steps[torch.arange(count * self.random) % len(steps)].reshape(count, -1, dim)
        centre = fitted.basis.mean_at(places.times + fitted.dt) - x
        null = (
            as_long_as(drift, sphere[:, : self.random]),
            as_long_as(drift, steps),
            as_long_as(noise[:, 0], sphere[:, self.random :]),
        )
        return torch.cat([drift[:, None], both, centre[:, None], *null], dim=1)


def step_of(
    fitted: Fitted, places: Places, directions: int
) -> tuple[Float[Tensor, "place dim"], Float[Tensor, "place direction dim"]]:
    """The expected increment of one step, and the leading directions of its noise."""
    x = places.states
    drifts: list[Tensor] = []
    noises: list[Tensor] = []
    for index in torch.split(torch.arange(len(x)), max(1, NUMBERS // x.shape[1] ** 2)):
        step = fitted.transition(places.times[index], x[index])
        drifts.append(step.mean - x[index].to(step.mean))
        if noises and step.covariance.stride(0) == 0:  # the same for all, and known already
            noises.append(noises[0][:1].expand(len(index), -1, -1))
        else:
            noises.append(leading(step.covariance, directions))
    return torch.cat(drifts), torch.cat(noises)


@dataclass(frozen=True, eq=False)
class Read:
    """Pushes of some states, and what they say each way."""

    places: Places
    pushes: Float[Tensor, "place push dim"]
    said: Mapping[str, Said]
    directions: int
    random: int

    def null(self, kind: str) -> slice:
        """Which pushes are the random ones of a kind: sphere, steps, noise."""
        first = 2 + 2 * self.directions
        first += self.random * ("sphere", "steps", "noise").index(kind)
        return slice(first, first + self.random)

    def average(self, values: Float[Tensor, " place"]) -> Average:
        """Over the places, with errors over texts."""
        return Average.of(values, self.places.text)

    def rank(self, way: str, kind: str) -> Average:
        """Of the drift's divergence among random ones; of the noise's for the kind noise."""
        own = 1 if kind == "noise" else 0
        return self.average(self.said[way].rank(own, self.null(kind)))

    def lead(self, way: str, target: int, over: slice) -> Average:
        """The drift's gain in a word's log probability, above the mean gain of other pushes."""
        gain = self.said[way].gain[..., target]
        return self.average(gain[:, 0] - gain[:, over].mean(1))

    @property
    def centre(self) -> slice:
        """The push to the mean state of training."""
        return slice(1 + 2 * self.directions, 2 + 2 * self.directions)


KINDS = {
    "sphere": "drift among random directions",
    "steps": "drift among increments of training texts",
    "noise": "first noise direction among random directions",
}


def ranks(read: Read) -> dict[str, dict[str, Average]]:
    """By way and by kind of null."""
    return {way: {kind: read.rank(way, kind) for kind in KINDS} for way in WAYS}


def on_ranks(read: Read) -> str:
    """Whether the drift says more than chance."""
    sphere, steps = (read.rank("network", kind) for kind in ("sphere", "steps"))
    kl = read.average(read.said["network"].kl[:, 0])
    more = steps.differs(0.5) and steps.value > 0.5
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


def on_words(decode: Decode, text: Text, read: Read) -> str:
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


def estimates(read: Read) -> tuple[Estimate, ...]:
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


def arrays(text: Text, shown: Read, many: Read) -> dict[str, Tensor]:
    """Everything read, by push: drift, noise one way and the other, then the random ones."""
    named = {"positions": text.at, "tokens": text.tokens, "documents.text": many.places.text}
    named["documents.positions"] = many.places.at
    for way in WAYS:
        named |= {f"{way}.{k}": v for k, v in shown.said[way].tensors().items()}
        kept = ("kl", "largest", "gain")
        named |= {f"documents.{way}.{k}": getattr(many.said[way], k) for k in kept}
    return named
