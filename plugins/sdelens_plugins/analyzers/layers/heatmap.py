"""A heat map of layer against token: how surprising each step of one text was, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.language.prompt import prompted
from sdelens.paths.trajectories import Paths, Trajectories
from sdelens.report import Figure, Layer, Panel
from sdelens.states.recording import View
from sdelens_plugins.analyzers.common.layer_axis import layer_label, layer_number, views_by_depth
from sdelens_plugins.analyzers.common.observed_path import words_of
from sdelens_plugins.analyzers.common.units import NATS


@dataclass(frozen=True, eq=False)
class Heatmap:
    """Nats per dimension of the steps of one text: a row for each layer, a column each token."""

    name: str
    rows: Float[Tensor, " layer"]
    y: str
    positions: Float[Tensor, " token"]
    words: tuple[str, ...]
    nats: Float[Tensor, "layer token"]

    @classmethod
    @torch.no_grad()
    def of(cls, study: Study, *, tokens: int) -> "Heatmap":
        """Of the prompt, or else of the first test document that is long enough or the longest."""
        views = views_by_depth(study)
        asked = prompted(study, study.prompt).paths if study.prompt else {}
        paths = {view: asked.get(view, study.views[view].test) for view in views}
        if views[0].axis == "layer":
            return cls._through(study, paths[views[0]], tokens)
        return cls._along(study, paths, tokens)

    @classmethod
    def _along(cls, study: Study, paths: Mapping[View, Paths], tokens: int) -> "Heatmap":
        """One path at each site; a column is the token at which a step arrives."""
        document = chosen(_lengths(next(iter(paths.values()))), tokens + 1)
        rows = []
        for view, own in paths.items():
            (block,) = (b for b in own.select([document]) if b.steps.any())
            steps = block.steps[0]
            rows.append(surprise_of(study.views[view].fitted, block)[0, steps][:tokens])
            times = block.times.expand(block.mask.shape)[0, 1:][steps][:tokens]
            said = block.tokens[0, 1:][steps][:tokens]
        return cls(
            name="the prompt" if study.prompt else f"test document {document}",
            rows=torch.tensor([layer_number(view) for view in paths]),
            y=layer_label(study),
            positions=times.double(),
            words=words_of(study, said),
            nats=torch.stack(rows).double(),
        )

    @classmethod
    def _through(cls, study: Study, paths: Paths, tokens: int) -> "Heatmap":
        """One path for each token; a row is the depth at which a step arrives."""
        ((_, viewed),) = study.views.items()
        depths = next(iter(paths)).states.shape[1]
        document = chosen(_lengths(paths), tokens * depths)
        blocks = list(paths.select([document]))
        nats = torch.cat([surprise_of(viewed.fitted, block) for block in blocks])[:tokens]
        said = torch.cat([block.tokens[:, 0] for block in blocks])[:tokens]
        return cls(
            name="the prompt" if study.prompt else f"test document {document}",
            rows=torch.arange(1.0, depths),
            y="depth of arrival",
            positions=torch.arange(len(said)).double(),
            words=words_of(study, said),
            nats=nats.mT.double(),
        )

    def figure(self) -> Figure:
        """The heat map, with the words below."""
        where = torch.arange(len(self.words)).double()
        values = {"x": where, "y": self.rows.double(), "z": self.nats}
        shown = tuple(word if len(word) < 10 else f"{word[:8]}…" for word in self.words)
        panel = Panel("", self.y, (Layer("heat", values, NATS, words=shown),))
        caption = (
            f"{self.name[0].upper()}{self.name[1:]}, {len(self.words)} tokens: minus the log "
            "density of the step that arrives at each state, per dimension, in coordinates "
            "standardised on training. High values are steps that the fit did not expect."
        )
        return Figure("tokens", (panel,), caption)

    def arrays(self) -> dict[str, Tensor]:
        """The map."""
        return {"map.nats": self.nats, "map.layer": self.rows, "map.position": self.positions}


def surprise_of(fitted: Fitted, block: Trajectories) -> Float[Tensor, "path step"]:
    """Minus the log density of each step, per dimension, in standardised coordinates."""
    basis = fitted.basis
    shift = basis.log_volume_standard() - basis.log_volume()
    return (shift - fitted.log_prob(block)) / (basis.latent + basis.left)


def chosen(lengths: dict[int, int], wanted: int) -> int:
    """The first document with so many tokens, or else the one with most."""
    if not lengths:
        raise UsageError("a map of layers needs a held-out document with a step, but none has one")
    return max(lengths, key=lambda number: min(lengths[number], wanted))


def _lengths(paths: Paths) -> dict[int, int]:
    """How many states each document with a step has; along the depth, of all its paths."""
    found: dict[int, int] = {}
    for block in paths:
        moves = block.steps.any(1).tolist()
        counts = zip(block.document.tolist(), block.mask.sum(1).tolist(), moves, strict=True)
        for document, count, _ in (row for row in counts if row[2]):
            found[document] = found.get(document, 0) + count
    return found
