"""Surprisal of the steps of one text under the fit of every layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.language.prompt import prompt_paths
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.layer_axis import layer_label, layer_number, views_by_depth
from sdelens_plugins.analyzers.common.observed_path import words_of


@dataclass(frozen=True, eq=False)
class SurprisalMap:
    """Nats per dimension of the steps of one text, by layer and token."""

    name: str
    """The text: the prompt, or a test document."""
    rows: Float[Tensor, " layer"]
    label: str
    """The label of the axis of rows."""
    positions: Float[Tensor, " token"]
    words: tuple[str, ...]
    nats: Float[Tensor, "layer token"]

    @classmethod
    @torch.no_grad()
    def of(cls, study: Study, *, tokens: int) -> "SurprisalMap":
        """The prompt if there is one, else the first test document that is long enough.

        If all documents are shorter, it is the longest. Raises `UsageError` if none has a step.
        """
        views = views_by_depth(study)
        prompts = prompt_paths(study, study.prompt).paths if study.prompt else {}
        paths = {view: prompts.get(view, study.views[view].test) for view in views}
        if views[0].axis == "layer":
            return cls._along_depth(study, paths[views[0]], tokens)
        return cls._along_tokens(study, paths, tokens)

    @classmethod
    def _along_tokens(
        cls, study: Study, paths: Mapping[View, Paths], tokens: int
    ) -> "SurprisalMap":
        """One path per layer; a column is the token at which a step arrives."""
        document = _first_long_enough(_lengths(next(iter(paths.values()))), tokens + 1)
        rows = []
        for view, layer_paths in paths.items():
            (block,) = (b for b in layer_paths.select([document]) if b.steps.any())
            steps = block.steps[0]
            rows.append(step_surprisal(study.views[view].fitted, block)[0, steps][:tokens])
            times = block.times.expand(block.mask.shape)[0, 1:][steps][:tokens]
            ids = block.tokens[0, 1:][steps][:tokens]
        return cls(
            name="the prompt" if study.prompt else f"test document {document}",
            rows=torch.tensor([layer_number(view) for view in paths]),
            label=layer_label(study),
            positions=times.double(),
            words=words_of(study, ids),
            nats=torch.stack(rows).double(),
        )

    @classmethod
    def _along_depth(cls, study: Study, paths: Paths, tokens: int) -> "SurprisalMap":
        """One path per token; a row is the depth at which a step arrives."""
        _, viewed = study.single
        depths = next(iter(paths)).states.shape[1]
        document = _first_long_enough(_lengths(paths), tokens * depths)
        blocks = list(paths.select([document]))
        nats = torch.cat([step_surprisal(viewed.fitted, block) for block in blocks])[:tokens]
        ids: Int[Tensor, " token"] = torch.cat([block.tokens[:, 0] for block in blocks])[:tokens]
        return cls(
            name="the prompt" if study.prompt else f"test document {document}",
            rows=torch.arange(1.0, depths),
            label="depth of arrival",
            positions=torch.arange(len(ids)).double(),
            words=words_of(study, ids),
            nats=nats.mT.double(),
        )


def step_surprisal(fitted: Fitted, block: Trajectories) -> Float[Tensor, "path step"]:
    """Minus the log density of each step, per dimension, in standardised coordinates."""
    basis = fitted.basis
    shift = basis.log_volume_standard() - basis.log_volume()
    return (shift - fitted.log_prob(block)) / (basis.latent + basis.left)


def _first_long_enough(lengths: dict[int, int], length: int) -> int:
    """The first document of at least this length, or else the longest."""
    if not lengths:
        raise UsageError("a map of layers needs a held-out document with a step, but none has one")
    return max(lengths, key=lambda number: min(lengths[number], length))


def _lengths(paths: Paths) -> dict[int, int]:
    """The number of states of each document with a step; along the depth, of all its paths."""
    lengths: dict[int, int] = {}
    for block in paths:
        moves = block.steps.any(1).tolist()
        counts = zip(block.document.tolist(), block.mask.sum(1).tolist(), moves, strict=True)
        for document, count, _ in (row for row in counts if row[2]):
            lengths[document] = lengths.get(document, 0) + count
    return lengths
