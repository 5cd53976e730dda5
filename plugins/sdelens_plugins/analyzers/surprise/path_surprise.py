"""The surprisal of the states and tokens along one path."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.study import Study
from sdelens.language.surprisal import Surprisal
from sdelens.paths.trajectories import Trajectories
from sdelens_plugins.analyzers.common.observed_path import (
    ObservedPath,
    next_tokens_along,
    observed_path,
    words_of,
)


@dataclass(frozen=True, eq=False)
class PathSurprise:
    """The surprisal at each token of one path; NaN at the first state."""

    path: ObservedPath
    words: tuple[str, ...]
    fit: Float[Tensor, " time"]
    """Nats per dimension, of the state under the fit."""
    model: Float[Tensor, " time"]
    """Nats, of the token under the language model."""
    entropy: Float[Tensor, " time"]
    """Nats, of the model's next token: the surprisal that it expects there."""

    @classmethod
    def of(cls, study: Study, tokens: int) -> "PathSurprise":
        """Of the prompt if there is one, otherwise of a test document."""
        _, viewed = study.single
        path = observed_path(study, tokens=tokens)
        block = Trajectories(
            rearrange(path.states, "time dim -> 1 time dim"),
            torch.ones(1, len(path.times), dtype=torch.bool),
            path.times[None],
            path.tokens[None],
            torch.zeros(1, dtype=torch.long),
        )
        surprise = Surprisal.of(viewed.fitted, block)
        next_token = next_tokens_along(study, path)
        nll = next_token.at(surprise.document, surprise.position.long())[1]
        blank = torch.full((1,), torch.nan, dtype=torch.float64)
        words = words_of(study, path.tokens)
        entropy = next_token.entropy[0, path.times.long().cpu()]
        fit, of_model = (torch.cat([blank, nats]) for nats in (surprise.nats, nll))
        return cls(path, words, fit, of_model, entropy)
