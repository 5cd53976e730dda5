"""Texts that go on from one state: by the fit, by simpler laws, by the model itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sdelens.estimation.additive import random_walk
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import TERMS, constant_laws
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.simulation import simulate
from sdelens.fitting.study import Study, Viewed
from sdelens.language.texts import Text, required_model, shortened
from sdelens.laws.sde import KernelSDE
from sdelens.paths.moments import Moments, times_of
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.refitted_baselines import noise_spec
from sdelens_plugins.analyzers.generate.decode_states import (
    continued,
    decode_states,
    known_states,
    nats,
    nearest_words,
)
from sdelens_plugins.analyzers.generate.text_metrics import METRICS, scored

FIT, WALK, IID = "the fit", "random walk", "i.i.d. per position"
OWN, SAMPLED = "the model, likeliest", "the model, drawn"
DECODERS = ("network", "nearest")
KNOWN = 8192
"""Training states among which the nearest is looked for."""


@dataclass(frozen=True, eq=False)
class Generators:
    """The fit and its nulls as processes, and the training states with their words."""

    processes: Mapping[str, Fitted]
    known: Float[Tensor, "state latent"]
    tokens: Int[Tensor, " state"]

    @classmethod
    def of(cls, viewed: Viewed) -> "Generators":
        """The nulls in closed form, with noise of the same structure as the fit's."""
        fitted = viewed.fitted
        train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
        times = times_of(train)
        moments, held = Moments.of(train, times), Moments.of(validation, times)
        position = selected(moments, held, TERMS["iid_position"])
        means = {WALK: random_walk(moments), IID: position}
        noise = noise_spec(fitted.record, moments.dim)
        laws = constant_laws(means, moments, held, noise, train)
        independent = noise.family(moments.dim).scale.independent
        nulls = {
            name: replace(
                fitted,
                law=KernelSDE(law.mean, law.noise, dt=fitted.dt, diagonal=independent),
                members=(),
            )
            for name, law in laws.items()
        }
        return cls({FIT: fitted, **nulls}, *known_states(train, states=KNOWN))


@dataclass(frozen=True, eq=False)
class GeneratedTexts:
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


def generated_texts(
    study: Study,
    writers: Generators,
    texts: Sequence[Text],
    *,
    start: str,
    steps: int,
    rows: int,
    temperature: float,
    seed: int,
) -> list[GeneratedTexts]:
    """Simulate from each text's last position, and say the states in words both ways.

    Texts of one length go on together.
    """
    view, _ = study.single
    model = required_model(study)
    texts = [shortened(text, model.card.context, steps) for text in texts]
    found: dict[int, GeneratedTexts] = {}
    lengths = [(len(text.ids), float(text.at[-1])) for text in texts]
    for length, at in dict.fromkeys(lengths):
        numbers = [k for k, each in enumerate(lengths) if each == (length, at)]
        group = Group(
            [texts[k] for k in numbers],
            steps=min(steps, model.card.context - length),
            rows=rows,
            temperature=temperature,
            seed=derive(seed, length),
        )
        found |= zip(numbers, group.generate(model, view.site, writers, start, at), strict=True)
    return [found[k] for k in range(len(texts))]


@dataclass(frozen=True)
class Group:
    """Texts of one length, each to be continued by `rows` paths."""

    texts: Sequence[Text]
    steps: int
    rows: int
    temperature: float
    seed: int

    def generate(
        self, model: LanguageModel, site: Site, writers: Generators, start: str, at: float
    ) -> Iterator[GeneratedTexts]:
        """How each goes on, from its state at time `at`."""
        paths, words = self._by_processes(model, site, writers, start, at)
        words |= self._by_model(model)
        ids = self._repeated(self.ids)
        surprise = {
            name: nats(model, self.ids if name == OWN else ids, said)
            for name, said in words.items()
        }
        for number, text in enumerate(self.texts):
            own_paths, own_words, own_nats = (
                {name: self._own(rows, number) for name, rows in each.items()}
                for each in (paths, words, surprise)
            )
            scores = {
                name: scored(model.decode, said, own_nats[name], own_words[OWN][0])
                for name, said in own_words.items()
            }
            finite = reduce(own_paths[FIT].isfinite(), "row time dim -> row", "all")
            lost = 1 - float(finite.double().mean())
            yield GeneratedTexts(text, own_paths, own_words, own_nats, scores, lost)

    @property
    def ids(self) -> Int[Tensor, "text token"]:
        """The texts themselves."""
        return torch.stack([text.ids for text in self.texts])

    def _own(self, rows: Tensor, number: int) -> Tensor:
        """The rows of one text."""
        return rearrange(rows, "(text row) ... -> text row ...", text=len(self.texts))[number]

    def _repeated(self, values: Shaped[Tensor, "text ..."]) -> Shaped[Tensor, "row ..."]:
        """A row for each continuation, those of one text together."""
        return repeat(values, "text ... -> (text row) ...", row=self.rows)

    def _by_processes(
        self, model: LanguageModel, site: Site, writers: Generators, start: str, at: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Simulated states, and what they say in both ways."""
        ids = self._repeated(self.ids)
        paths, words = {}, {}
        for name, process in writers.processes.items():
            own = derive(self.seed, name)
            paths[name] = self._simulated(process, start, at, own)
            usable = paths[name].nan_to_num(0.0, 0.0, 0.0)
            words[key(name, "network")] = decode_states(
                model, site, ids, usable[:, :-1], temperature=self.temperature, seed=own
            )
            t = at + torch.arange(1, self.steps + 1) * process.dt
            latent = process.basis.encode(t.expand(len(ids), -1), usable[:, 1:])
            words[key(name, "nearest")] = nearest_words(latent, writers.known, writers.tokens)
        return paths, words

    def _by_model(self, model: LanguageModel) -> dict[str, Int[Tensor, "row step"]]:
        """Its likeliest words, one row for each text, and words drawn from it."""
        ids, seed = self._repeated(self.ids), derive(self.seed, SAMPLED)
        return {
            OWN: continued(model, self.ids, steps=self.steps),
            SAMPLED: continued(model, ids, steps=self.steps, temperature=1.0, seed=seed),
        }

    def _simulated(
        self, process: Fitted, start: str, at: float, seed: int
    ) -> Float[Tensor, "row time dim"]:
        """Paths of all texts, those of one text together, each with its start."""
        last = start == "last"
        first = torch.stack([t.states[-1] if last else t.states.mean(0) for t in self.texts])
        first = self._repeated(first)
        states = simulate(process, first, steps=self.steps, t=at, seed=seed)
        # the start as it is: a basis may leave directions of it out
        whole = torch.cat([first[None].to(states), states[1:]])
        return rearrange(whole, "time row dim -> row time dim")


def table(many: list[GeneratedTexts]) -> dict[str, Float[Tensor, "text metric"]]:
    """Scores by writer, a row for each text."""
    names = many[0].scores
    return {name: torch.stack([one.scores[name] for one in many]) for name in names}


def metric(scores: Float[Tensor, "text metric"], name: str) -> Float[Tensor, " text"]:
    """One column."""
    return scores[:, METRICS.index(name)]
