"""Cause, not only correlation: what a model writes while its states are moved by the fit."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study, Viewed
from sdelens.language.prompt import QUESTION
from sdelens.language.texts import held_out, model_of, of_prompt, with_room
from sdelens.protocols import LanguageModel
from sdelens.report import Finding, Strip
from sdelens.seeds import derive
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import Steering
from sdelens.steering.writer import STEERED, Direction, Writer
from sdelens_plugins.analyzers.steering.control_directions import (
    Increments,
    Others,
    ToMean,
    TrainingIncrements,
)
from sdelens_plugins.analyzers.steering.dose_response import (
    DRAWN,
    FIT,
    MEAN,
    OTHERS,
    OWN,
    DoseResponse,
    by_how,
    dose_responses,
    parsed,
)
from sdelens_plugins.analyzers.steering.figures import figures
from sdelens_plugins.analyzers.steering.model_mean_direction import ModelMeanDirection
from sdelens_plugins.analyzers.steering.summary import arrays, estimates, headline

READING = (
    "While the model writes, its state X at the fit's layer is moved at every position that it "
    "writes, and the rest of the network goes on from there; the prompt's states stay. Drift a: "
    "X becomes X + a (m(X) - X) with the mean m of the fit. Diffusion s: X becomes m + sqrt(s) "
    "(X - m) with m the fit's mean after the steered state before. remove takes the foretold part "
    "out of the step, project the part of the state along the drift. What the basis leaves out "
    "stays. The change of the next word is KL(unsteered || steered) after the same words, once "
    "at the first state that is moved, and as a mean along the text. Every push changes "
    "something: hence pushes of the same length (in training-standardised coordinates) in other "
    "directions, at the same doses, with the same draws. A push towards the mean state knows "
    "nothing of how states move, and the drift is largely a return to the mean: hold the fit "
    "against it first. Where the fit moves the law further, that is a larger effect, not a "
    "better drift. m* - X is where the model itself goes on average, by a few of its next "
    "tokens, so that it has an error. The sentence's intervals hold together over all doses and "
    "controls; those of estimates and figures are single ones, of which some leave out zero by "
    "chance. A difference whose interval holds zero is not shown. That a push has an effect "
    "shows that the network reads this direction, not that it "
    "computes the drift; a state that was pushed far is one that the model never has. Nats per "
    "word, entropy and distinct-n are of whole texts that differ after their first changed word."
)


@dataclass(frozen=True)
class SteeringAnalyzer:
    """The next word's law, and texts, under doses of drift and diffusion, and of their controls.

    `documents` test documents are gone on from after `prefix` positions by `tokens` words, at
    each dose of `drift` and of `diffusion` (numbers with commas), the drift removed, and projected
    out. m* is told by `branches` next tokens. The text that is shown goes on from the prompt, or
    else from `question`.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    scope: ClassVar[str] = "view"

    documents: int = 32
    prefix: int = 16
    tokens: int = 24
    drift: str = "-1,-0.5,0.5,1"
    diffusion: str = "0,0.5,1.5,2"
    branches: int = 8
    temperature: float = 1.0
    question: str = QUESTION

    def __post_init__(self) -> None:
        for name, least in {"documents": 1, "prefix": 1, "tokens": 2, "branches": 1}.items():
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not self.temperature >= 0:
            raise UsageError(f"temperature must be 0 or more, got {self.temperature}")
        self.doses()  # errors before any work

    def doses(self) -> list[Steering]:
        """All that is tried: drifts in increasing order, then diffusions."""
        drifts, diffusions = parsed(self.drift, "drift"), parsed(self.diffusion, "diffusion")
        return [*drifts, *diffusions, Steering("remove"), Steering("project")]

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        if view.axis == "layer":
            raise UsageError(
                "steering moves states along the text, but this fit is along the depth: fit with "
                "--axis token"
            )
        model, ids = model_of(study), self._prefixes(study)
        writer = _writer(study, model, self.temperature)
        dosed = DoseResponse.of(
            writer,
            self._directions(viewed, writer, ids, seed),
            ids,
            self.doses(),
            steps=min(self.tokens, model.card.context - ids.shape[1]),
            seed=seed,
        )
        return Finding(
            analyzer="steering",
            view=str(view),
            headline=headline(dosed),
            reading=READING,
            estimates=estimates(dosed),
            arrays=arrays(dosed),
            figures=figures(dosed),
            strips=self._strips(study, writer, seed),
            prompt=study.prompt,
        )

    def _prefixes(self, study: Study) -> Int[Tensor, "text token"]:
        """The beginnings of test documents, one of each group, with a state at their end."""
        room = model_of(study).card.context - self.prefix - 1
        if room < 2:
            raise UsageError(
                f"after {self.prefix} positions (prefix) the context has room for {room} words, "
                "but 2 are needed: give a smaller prefix"
            )
        texts = held_out(study, documents=len(study.documents), states=1)
        found = [text.ids[: self.prefix + 1] for text in texts if self.prefix in text.at]
        if not found:
            raise UsageError(
                f"no held-out document has a state at position {self.prefix} (prefix): give a "
                "smaller prefix, or fit to longer texts"
            )
        return torch.stack(found[: self.documents])

    def _directions(
        self, viewed: Viewed, writer: Writer, ids: Tensor, seed: int
    ) -> dict[str, Direction | None]:
        """The fit's own, and those that it is held against."""
        steps = TrainingIncrements.of(viewed.fitted, viewed.train, seed=derive(seed, "steps"))
        own, site = derive(seed, "branches"), writer.site
        return {
            FIT: None,
            OTHERS: Others(steps, derive(seed, "others")),
            DRAWN: Increments.of(steps, seed=derive(seed, "draws")),
            MEAN: ToMean(viewed.fitted.basis),
            OWN: ModelMeanDirection.of(writer.model, site, ids, self.branches, own),
        }

    def _strips(self, study: Study, writer: Writer, seed: int) -> tuple[Strip, ...]:
        """One prompt gone on from, unsteered and at each dose, coloured by what was changed."""
        model = writer.model
        text = with_room(
            of_prompt(study, study.prompt or self.question), model.card.context, self.tokens
        )
        count = min(self.tokens, model.card.context - len(text.ids))
        uniform = uniforms(torch.zeros(1, dtype=torch.long), (count,), seed, STEERED)
        found = {}
        doses = [Steering(), *self.doses()]
        for how, chosen in by_how(doses).items():
            said = dose_responses(replace(writer, how=how), text.ids[None], chosen, uniform)
            for steering, words, kl in zip(chosen, said.words, said.kl, strict=True):
                told = tuple(model.decode(words.tolist())), tuple(kl.tolist())
                found[steering] = Strip(str(steering), *told, "nats from the model's own law")
        scale = 0.0, max(value for strip in found.values() for value in strip.values)
        return tuple(replace(found[steering], scale=scale) for steering in doses)


def _writer(study: Study, model: LanguageModel, temperature: float) -> Writer:
    view, viewed = study.single
    fitted = viewed.fitted
    skipped = 1 if fitted.origin is None else fitted.origin.skip_first
    return Writer(model, view.site, fitted.law, fitted.basis, skipped, temperature=temperature)
