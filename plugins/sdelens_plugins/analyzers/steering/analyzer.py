"""The causal effect of steering: what a model writes while the fit moves its states."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study, Viewed
from sdelens.language.prompt import QUESTION
from sdelens.language.texts import (
    Text,
    held_out_texts,
    prompt_text,
    required_model,
    shortened,
)
from sdelens.protocols import LanguageModel
from sdelens.report import Finding
from sdelens.seeds import derive
from sdelens.settings import require_at_least
from sdelens.states.sampling import uniforms
from sdelens.steering.doses import Steering
from sdelens.steering.writer import STEERED, Direction, Writer
from sdelens.summary import PUSH
from sdelens_plugins.analyzers.steering.control_directions import (
    IncrementDraws,
    OtherTokens,
    ToMean,
    TrainingIncrements,
)
from sdelens_plugins.analyzers.steering.dose_response import (
    FIT,
    INCREMENT_DRAWS,
    MODEL_MEAN,
    OTHER_TOKENS,
    TO_MEAN,
    DoseResponse,
    parse_doses,
)
from sdelens_plugins.analyzers.steering.dose_texts import dose_series
from sdelens_plugins.analyzers.steering.figures import figures
from sdelens_plugins.analyzers.steering.model_mean_direction import ModelMeanDirection
from sdelens_plugins.analyzers.steering.results import arrays, estimates, headline, reading


@dataclass(frozen=True)
class SteeringAnalyzer:
    """Next-token distributions and texts under doses of drift, of diffusion and of controls.

    Continues `documents` test documents after `prefix` positions (of the answer, if their prompts
    are longer) by `tokens` tokens, at each dose
    of `drift` and of `diffusion` (numbers separated by commas), with the drift removed, and with
    it projected out. m* is estimated from `branches` next tokens. The coloured texts continue the
    prompt, or `question` if there is no prompt.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde", "model"})
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = PUSH
    cost: ClassVar[str] = "a minute"
    quick: ClassVar[dict[str, Any]] = {
        "documents": 12,
        "tokens": 12,
        "drift": "-1,1",
        "diffusion": "0,2",
    }

    documents: int = 32
    prefix: int = 16
    tokens: int = 16
    drift: str = "-1,-0.5,0.5,1"
    diffusion: str = "0,0.5,1.5,2"
    branches: int = 8
    temperature: float = 1.0
    question: str = QUESTION

    def __post_init__(self) -> None:
        require_at_least(self, documents=1, prefix=1, tokens=2, branches=1)
        if not self.temperature >= 0:
            raise UsageError(f"temperature must be 0 or more, got {self.temperature}")
        self.doses()  # errors before any work

    def doses(self) -> list[Steering]:
        """Doses of drift and of diffusion, increasing; then drift removed and projected out."""
        return [
            *parse_doses(self.drift, "drift"),
            *parse_doses(self.diffusion, "diffusion"),
            Steering("remove"),
            Steering("project"),
        ]

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        if view.axis == "layer":
            raise UsageError(
                "steering moves states along the text, but this fit is along the depth: fit with "
                "--axis token"
            )
        model, ids = required_model(study), self._prefixes(study)
        writer = _writer(study, model, self.temperature)
        directions = self._directions(viewed, writer, ids, seed)
        result = DoseResponse.of(
            writer,
            directions,
            ids,
            self.doses(),
            steps=min(self.tokens, model.card.context - ids.shape[1]),
            seed=seed,
        )
        return Finding(
            view=str(view),
            headline=headline(result),
            reading=reading(result),
            estimates=estimates(result),
            arrays=arrays(result),
            figures=figures(result),
            prompt=study.prompt,
            doses=dose_series(result, writer, directions, *self._start(study, writer, seed)),
        )

    def _prefixes(self, study: Study) -> Int[Tensor, "text token"]:
        """The beginnings of test documents, one of each group, with a state at their end."""
        room = required_model(study).card.context - self.prefix - 1
        if room < 2:
            raise UsageError(
                f"after {self.prefix} positions (prefix) the context has room for {room} tokens, "
                "but 2 are needed: give a smaller prefix"
            )
        texts = held_out_texts(study, documents=len(study.documents), states=1)
        end = common_end(texts, self.prefix)
        prefixes = [text.ids[: end + 1] for text in texts if end in text.at]
        if not prefixes:
            first = min((int(text.at.min()) for text in texts), default=0)
            last = max((int(text.at.max()) for text in texts), default=0)
            raise UsageError(
                f"no held-out document has a state at position {self.prefix} (prefix); a prompt "
                f"counts: give a prefix from {first} to {last}, or fit to longer texts"
            )
        return torch.stack(prefixes[: self.documents])

    def _directions(
        self, viewed: Viewed, writer: Writer, ids: Tensor, seed: int
    ) -> dict[str, Direction | None]:
        """The fit's direction (None: the writer's own) and the controls."""
        steps = TrainingIncrements.of(viewed.fitted, viewed.train, seed=derive(seed, "steps"))
        return {
            FIT: None,
            OTHER_TOKENS: OtherTokens(steps, derive(seed, "others")),
            INCREMENT_DRAWS: IncrementDraws.of(steps, seed=derive(seed, "draws")),
            TO_MEAN: ToMean(viewed.fitted.basis),
            MODEL_MEAN: ModelMeanDirection.of(
                writer.model, writer.site, ids, self.branches, derive(seed, "branches")
            ),
        }

    def _start(self, study: Study, writer: Writer, seed: int) -> tuple[str, Tensor, Tensor]:
        """The prompt that is continued, its tokens, and the random numbers of the next ones."""
        context, prompt = writer.model.card.context, study.prompt or self.question
        text = shortened(prompt_text(study, prompt), context, self.tokens)
        count = min(self.tokens, context - len(text.ids))
        return (
            prompt,
            text.ids,
            uniforms(torch.zeros(1, dtype=torch.long), (count,), seed, STEERED),
        )


def _writer(study: Study, model: LanguageModel, temperature: float) -> Writer:
    view, viewed = study.single
    fitted = viewed.fitted
    skipped = 1 if fitted.origin is None else fitted.origin.skip_first
    return Writer(model, view.site, fitted.law, fitted.basis, skipped, temperature=temperature)


def common_end(texts: Sequence[Text], prefix: int) -> int:
    """Position `prefix`, or the one that most answers to prompts of unequal length have.

    Prompts may be longer than `prefix`: the candidates are then `prefix` positions after the end
    of each prompt, and those that have as many states before the position are counted.
    """
    if not texts or any(prefix in text.at for text in texts):
        return prefix
    first = torch.stack([text.at[0] for text in texts])
    last = torch.stack([text.at[-1] for text in texts])
    ends: Tensor = torch.unique(first + prefix)
    counts = ((first + prefix <= ends[:, None]) & (ends[:, None] <= last)).sum(1)
    return int(ends[counts.argmax()])
