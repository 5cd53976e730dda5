"""Continuations of texts by the fit, by simpler processes and by the model."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sdelens.estimation.additive import random_walk
from sdelens.estimation.selection import selected
from sdelens.fitting.baselines import TERMS, constant_laws, noise_spec
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.simulation import simulate
from sdelens.fitting.study import Study, Viewed
from sdelens.language.texts import Text, required_model, shortened
from sdelens.laws.sde import KernelSDE
from sdelens.paths.moments import Moments, times_of
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import derive
from sdelens_plugins.analyzers.generate.decode_states import (
    continue_texts,
    decode_states,
    nearest_words,
    training_states,
    word_surprisal,
)
from sdelens_plugins.analyzers.generate.text_metrics import text_scores

FIT, WALK, IID = "the fit", "random walk", "i.i.d. per position"
OWN, SAMPLED = "the model, likeliest", "the model, drawn"
DECODERS = ("network", "nearest")
TRAINING_STATES = 8192
"""The number of training states that are searched for the nearest one."""


@dataclass(frozen=True, eq=False)
class Generators:
    """The fit and the baselines as processes, and training states with their tokens."""

    processes: Mapping[str, Fitted]
    states: Float[Tensor, "state latent"]
    tokens: Int[Tensor, " state"]

    @classmethod
    def of(cls, viewed: Viewed) -> "Generators":
        """Fits the baselines in closed form, with noise of the same structure as the fit's."""
        fitted = viewed.fitted
        train, validation = fitted.encoded(viewed.train), fitted.encoded(viewed.validation)
        times = times_of(train)
        moments, held_out = Moments.of(train, times), Moments.of(validation, times)
        position = selected(moments, held_out, TERMS["iid_position"])
        means = {WALK: random_walk(moments), IID: position}
        noise = noise_spec(fitted.record, moments.dim)
        laws = constant_laws(means, moments, held_out, noise, train)
        independent = noise.family(moments.dim).scale.independent
        baselines = {
            name: replace(
                fitted,
                law=KernelSDE(law.mean, law.noise, dt=fitted.dt, diagonal=independent),
                members=(),
            )
            for name, law in laws.items()
        }
        return cls({FIT: fitted, **baselines}, *training_states(train, states=TRAINING_STATES))


@dataclass(frozen=True, eq=False)
class Continuations:
    """The continuations of one text by every process, with their scores."""

    text: Text
    paths: Mapping[str, Float[Tensor, "row time dim"]]
    """States by process, including the start."""
    words: Mapping[str, Int[Tensor, "row step"]]
    nats: Mapping[str, Float[Tensor, "row step"]]
    """The surprisal of each word under the model."""
    scores: Mapping[str, Float[Tensor, " metric"]]
    diverged: float
    """The share of the fit's paths that diverged to infinity."""


def key(process: str, decoder: str) -> str:
    """The name of the words of a process by one decoder."""
    return f"{process}, {decoder}"


def continuations(
    study: Study,
    generators: Generators,
    texts: Sequence[Text],
    *,
    start: str,
    steps: int,
    rows: int,
    temperature: float,
    seed: int,
) -> list[Continuations]:
    """Simulates from the last position of each text and decodes the states in both ways.

    Texts of the same length are continued together.
    """
    view, _ = study.single
    model = required_model(study)
    texts = [shortened(text, model.card.context, steps) for text in texts]
    by_number: dict[int, Continuations] = {}
    lengths = [(len(text.ids), float(text.at[-1])) for text in texts]
    for length, at in dict.fromkeys(lengths):
        numbers = [k for k, each in enumerate(lengths) if each == (length, at)]
        group = TextGroup(
            [texts[k] for k in numbers],
            steps=min(steps, model.card.context - length),
            rows=rows,
            temperature=temperature,
            seed=derive(seed, length),
        )
        continued = group.generate(model, view.site, generators, start, at)
        by_number |= zip(numbers, continued, strict=True)
    return [by_number[k] for k in range(len(texts))]


@dataclass(frozen=True)
class TextGroup:
    """Texts of the same length, each continued by `rows` paths."""

    texts: Sequence[Text]
    steps: int
    rows: int
    temperature: float
    seed: int

    def generate(
        self, model: LanguageModel, site: Site, generators: Generators, start: str, at: float
    ) -> Iterator[Continuations]:
        """Yields the continuations of each text from its state at time `at`."""
        paths, words = self._by_processes(model, site, generators, start, at)
        words |= self._by_model(model)
        ids = self._repeated(self.ids)
        nats = {
            name: word_surprisal(model, self.ids if name == OWN else ids, rows)
            for name, rows in words.items()
        }
        for number, text in enumerate(self.texts):
            text_paths, text_words, text_nats = (
                {name: self._of_text(rows, number) for name, rows in each.items()}
                for each in (paths, words, nats)
            )
            scores = {
                name: text_scores(model.decode, rows, text_nats[name], text_words[OWN][0])
                for name, rows in text_words.items()
            }
            finite = reduce(text_paths[FIT].isfinite(), "row time dim -> row", "all")
            diverged = 1 - float(finite.double().mean())
            yield Continuations(text, text_paths, text_words, text_nats, scores, diverged)

    @property
    def ids(self) -> Int[Tensor, "text token"]:
        """The tokens of the texts."""
        return torch.stack([text.ids for text in self.texts])

    def _of_text(self, rows: Tensor, number: int) -> Tensor:
        """The rows of one text."""
        return rearrange(rows, "(text row) ... -> text row ...", text=len(self.texts))[number]

    def _repeated(self, values: Shaped[Tensor, "text ..."]) -> Shaped[Tensor, "row ..."]:
        """A row for each continuation, those of one text together."""
        return repeat(values, "text ... -> (text row) ...", row=self.rows)

    def _by_processes(
        self, model: LanguageModel, site: Site, generators: Generators, start: str, at: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Simulated states, and the words that both decoders give."""
        ids = self._repeated(self.ids)
        paths, words = {}, {}
        for name, process in generators.processes.items():
            seed = derive(self.seed, name)
            paths[name] = self._simulated(process, start, at, seed)
            usable = paths[name].nan_to_num(0.0, 0.0, 0.0)
            words[key(name, "network")] = decode_states(
                model, site, ids, usable[:, :-1], temperature=self.temperature, seed=seed
            )
            t = at + torch.arange(1, self.steps + 1) * process.dt
            latent = process.basis.encode(t.expand(len(ids), -1), usable[:, 1:])
            words[key(name, "nearest")] = nearest_words(
                latent, generators.states, generators.tokens
            )
        return paths, words

    def _by_model(self, model: LanguageModel) -> dict[str, Int[Tensor, "row step"]]:
        """The model's most likely words, one row per text, and sampled words."""
        ids, seed = self._repeated(self.ids), derive(self.seed, SAMPLED)
        return {
            OWN: continue_texts(model, self.ids, steps=self.steps),
            SAMPLED: continue_texts(model, ids, steps=self.steps, temperature=1.0, seed=seed),
        }

    def _simulated(
        self, process: Fitted, start: str, at: float, seed: int
    ) -> Float[Tensor, "row time dim"]:
        """Simulated paths of all texts, those of one text together, including the start."""
        last = start == "last"
        first = torch.stack([t.states[-1] if last else t.states.mean(0) for t in self.texts])
        first = self._repeated(first)
        states = simulate(process, first, steps=self.steps, t=at, seed=seed)
        # the start is exact, also in directions that the basis leaves out
        whole = torch.cat([first[None].to(states), states[1:]])
        return rearrange(whole, "time row dim -> row time dim")


def score_table(texts: Sequence[Continuations]) -> dict[str, Float[Tensor, "text metric"]]:
    """The scores by name, with a row for each text."""
    return {name: torch.stack([each.scores[name] for each in texts]) for name in texts[0].scores}
