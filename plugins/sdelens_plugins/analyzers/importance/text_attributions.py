"""The attributions of the fit's drift and noise at some positions of one text."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.language.texts import Text
from sdelens.protocols import LanguageModel, Site
from sdelens_plugins.analyzers.importance.attribution import (
    adaptive_integrated_gradients,
    gradient_times_input,
    occlusion,
)
from sdelens_plugins.analyzers.importance.response import Response


@dataclass(frozen=True, eq=False)
class TextAttributions:
    """Attributions to the tokens of one text, by number and method."""

    values: Mapping[str, Float[Tensor, "state time"]]
    """Zero for tokens before the first recorded one, such as BOS, which are never replaced."""
    gap: Float[Tensor, " state"] | None
    """The gap of the drift's integrated gradients; None without gradients."""
    notes: tuple[str, ...]


def attributions(
    model: LanguageModel,
    site: Site,
    fitted: Fitted,
    text: Text,
    at: Int[Tensor, " state"],
    baseline: Float[Tensor, " dim"],
    nodes: int,
) -> TextAttributions:
    """By occlusion and, if the model runs with gradients, by gradients; without constant noise."""
    fixed = int(text.at[0])
    noise = Response.of(model, site, fitted, text.ids[: int(at.max()) + 1], at, fixed=fixed)
    responses = {"drift": noise.along_drift()}
    if not fitted.law.constant_noise:
        responses["noise"] = noise
    e = noise.embeddings
    base = baseline.expand(e.shape)
    values, gap = {}, None
    occluded = occlusion([*responses.values()], e, base)
    for name, found in zip(responses, occluded, strict=True):
        values[f"{name}.occlusion"] = found
    notes: tuple[str, ...] = ()
    try:
        for name, response in responses.items():
            integrated = adaptive_integrated_gradients(response, e, base, nodes=nodes)
            values[f"{name}.gradient"] = gradient_times_input(response, e)
            values[f"{name}.integrated"] = integrated.values
            gap = integrated.gap if name == "drift" else gap
    except UsageError as error:
        notes = (f"Left out: {error}.",)
    pad = torch.nn.functional.pad
    return TextAttributions({n: pad(v, (fixed, 0)) for n, v in values.items()}, gap, notes)
