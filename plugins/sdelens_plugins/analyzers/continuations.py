"""Texts that go on from one state: by the fit, by simpler laws, by the model itself."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.estimation.additive import random_walk
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import TERMS, constant_laws
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.simulation import simulate
from sdelens.fitting.study import Study, Viewed
from sdelens.language.generation import (
    continued,
    known_states,
    nats,
    nearest_words,
    spoken,
)
from sdelens.language.texts import Text, model_of
from sdelens.laws.sde import KernelSDE
from sdelens.paths.moments import Moments, times_of
from sdelens.seeds import derive
from sdelens_plugins.analyzers.rivals import noise_of
from sdelens_plugins.analyzers.wording import METRICS, scored

FIT, WALK, IID = "the fit", "random walk", "i.i.d. per position"
OWN, SAMPLED = "the model, likeliest", "the model, drawn"
DECODERS = ("network", "nearest")
KNOWN = 8192
"""Training states among which the nearest is looked for."""


@dataclass(frozen=True, eq=False)
class Writers:
    """The fit and its nulls as processes, and the training states with their words."""

    processes: Mapping[str, Fitted]
    known: Float[Tensor, "state latent"]
    tokens: Int[Tensor, " state"]

    @classmethod
    def of(cls, viewed: Viewed) -> "Writers":
        """The nulls in closed form, with noise of the same structure as the fit's."""
        fitted = viewed.fitted
        train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        position = selected(moments, held, TERMS["iid_position"])
        means = {WALK: random_walk(moments), IID: position}
        noise = noise_of(fitted.record, moments.dim)
        laws = constant_laws(means, moments, held, noise, train)
        nulls = {
            name: replace(
                fitted,
                law=KernelSDE(law.mean, law.noise, dt=fitted.dt, diagonal=noise.diagonal),
                members=(),
            )
            for name, law in laws.items()
        }
        return cls({FIT: fitted, **nulls}, *known_states(train, states=KNOWN))


@dataclass(frozen=True, eq=False)
class Written:
    """How one text goes on, by everyone: words, their nats under the model, their scores."""

    text: Text
    paths: Mapping[str, Float[Tensor, "row time dim"]]
    """States by process, the start included."""
    words: Mapping[str, Int[Tensor, "row step"]]
    nats: Mapping[str, Float[Tensor, "row step"]]
    scores: Mapping[str, Float[Tensor, " metric"]]
    diverged: float
    """The share of the fit's paths that left the range of numbers."""


def key(process: str, decoder: str) -> str:
    """The name under which a process's words stand."""
    return f"{process}, {decoder}"


def written(
    study: Study,
    writers: Writers,
    text: Text,
    *,
    start: str,
    steps: int,
    rows: int,
    temperature: float,
    seed: int,
) -> Written:
    """Simulate from a text's last position, and say the states in words both ways."""
    view, _ = study.single
    model = model_of(study)
    steps = room(model.card.context, text, steps)
    first = text.states[-1] if start == "last" else text.states.mean(0)
    at = float(text.at[-1])
    paths, words = {}, {}
    for name, process in writers.processes.items():
        own = derive(seed, name)
        states = simulate(process, first.expand(rows, -1), steps=steps, t=at, seed=own)
        # the start as it is: a basis may leave directions of it out
        states = torch.cat([first.expand(1, rows, -1).to(states), states[1:]]).transpose(0, 1)
        paths[name] = states
        usable = states.nan_to_num(0.0, 0.0, 0.0)
        words[key(name, "network")] = spoken(
            model, view.site, text.ids, usable[:, :-1], temperature=temperature, seed=own
        )
        t = (at + torch.arange(1, steps + 1) * process.dt).expand(rows, -1)
        latent = process.basis.encode(t, usable[:, 1:])
        words[key(name, "nearest")] = nearest_words(latent, writers.known, writers.tokens)
    words[OWN] = continued(model, text.ids, steps=steps)
    words[SAMPLED] = continued(
        model, text.ids, steps=steps, rows=rows, temperature=1.0, seed=derive(seed, SAMPLED)
    )
    surprise = {name: nats(model, text.ids, ids) for name, ids in words.items()}
    scores = {
        name: scored(model.decode, ids, surprise[name], words[OWN][0])
        for name, ids in words.items()
    }
    lost = 1 - float(paths[FIT].isfinite().all(-1).all(-1).double().mean())
    return Written(text, paths, words, surprise, scores, lost)


def room(context: int, text: Text, steps: int) -> int:
    """How many words still fit into the model's context."""
    left = context - len(text.ids)
    if left < 1:
        raise UsageError(
            f"{text.name} fills the context of {context} tokens, so that nothing can follow: give "
            "a shorter prompt"
        )
    return min(steps, left)


def table(many: list[Written]) -> dict[str, Float[Tensor, "text metric"]]:
    """Scores by writer, a row for each text."""
    names = many[0].scores
    return {name: torch.stack([one.scores[name] for one in many]) for name in names}


def metric(scores: Float[Tensor, "text metric"], name: str) -> Float[Tensor, " text"]:
    """One column."""
    return scores[:, METRICS.index(name)]
