"""One text continued at each dose, by the fit and by a push of equal length to the mean state."""

from collections.abc import Mapping
from dataclasses import replace

from jaxtyping import Float, Int
from torch import Tensor

from sdelens.report import Dose, DoseSeries, Estimate, Strip
from sdelens.steering.doses import Steering
from sdelens.steering.writer import Direction, Writer
from sdelens_plugins.analyzers.steering.dose_response import (
    FIT,
    TO_MEAN,
    DoseResponse,
    by_how,
    steered_texts,
    text_mean,
)

ARMS = {FIT: "steered by the fit", TO_MEAN: "control: an equally long push to the mean state"}
"""The intervention, and the control that the headline compares it with."""

WITHOUT = {Steering("remove"): "drift removed", Steering("project"): "drift projected out"}


def dose_series(
    result: DoseResponse,
    writer: Writer,
    directions: Mapping[str, Direction | None],
    prompt: str,
    ids: Int[Tensor, " token"],
    uniform: Float[Tensor, "1 step"],
) -> tuple[DoseSeries, ...]:
    """Doses of the drift and of the diffusion around the unsteered text, and without the drift.

    Texts are coloured by the divergence before each token, all on one scale.
    """
    steerings = [Steering(), *result.steerings]
    texts = {
        arm: _continuations(replace(writer, direction=directions[arm]), ids, steerings, uniform)
        for arm in ARMS
    }
    largest = max(v for arm in texts.values() for _, values in arm.values() for v in values)
    doses = {
        steering: Dose(
            WITHOUT.get(steering, str(steering)),
            tuple(
                Strip(name, *texts[arm][steering], "nats from the unsteered model", (0.0, largest))
                for arm, name in ARMS.items()
            ),
            tuple(_effect(result, arm, steering) for arm in ARMS),
        )
        for steering in steerings
    }
    return tuple(
        DoseSeries(name, tuple(doses[each] for each in part), len(part) - 1, prompt)
        for name, part in _series(steerings).items()
        if len(part) > 1
    )


def _series(steerings: list[Steering]) -> dict[str, list[Steering]]:
    """The doses of each slider in order, the unsteered text among them."""
    pushes = [s for s in steerings if s.how == "push"]
    return {
        "dose of the drift": sorted((s for s in pushes if s.diffusion == 1), key=lambda s: s.dose),
        "dose of the diffusion": sorted(
            (s for s in pushes if s.dose == 0), key=lambda s: s.diffusion
        ),
        "without the drift": [s for s in steerings if s == Steering() or s in WITHOUT],
    }


def _continuations(
    writer: Writer,
    ids: Int[Tensor, " token"],
    steerings: list[Steering],
    uniform: Float[Tensor, "1 step"],
) -> dict[Steering, tuple[tuple[str, ...], tuple[float, ...]]]:
    """The tokens of the text at each dose, and the divergence before each."""
    found = {}
    for how, batch in by_how(steerings).items():
        texts = steered_texts(replace(writer, how=how), ids[None], batch, uniform)
        for steering, words, kl in zip(batch, texts.words, texts.kl, strict=True):
            found[steering] = tuple(writer.model.decode(words.tolist())), tuple(kl.tolist())
    return found


def _effect(result: DoseResponse, arm: str, steering: Steering) -> Estimate:
    """The divergence of the next token over test documents."""
    name, unit = "KL of the next token", f"nats, over {len(result.unsteered)} test documents"
    if steering == Steering():
        return Estimate(name, 0.0, None, unit)
    mean = text_mean(result[arm, steering, "first kl"])
    return Estimate(name, mean.value, mean.stderr, unit)
