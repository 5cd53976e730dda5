"""How fast states move, and how sharply their paths turn."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, pad

import sdelens
from sdelens.fitting.study import Study
from sdelens.paths.trajectories import Paths, require_finite
from sdelens.report import Estimate, Figure, Finding, Layer, Panel

UNITS = {"speed": "residual units a step", "turning angle": "degrees"}
READING = (
    "The turning angle is that between one step and the next. A straight line has 0 degrees, a "
    "random walk in many dimensions 90, and states in random order 120, whose steps undo each "
    "other. Errors are over test documents. An angle says nothing of what steers the path."
)


@sdelens.analyzer("curvature")
@dataclass(frozen=True)
class CurvatureAnalyzer:
    r"""Speed :math:`|\Delta_t|` and turning angle between :math:`\Delta_t` and the next step."""

    api: ClassVar[int] = 1
    needs: ClassVar[frozenset[str]] = frozenset()
    wants: ClassVar[frozenset[str]] = frozenset()
    scope: ClassVar[str] = "view"
    answers: ClassVar[str] = "Do paths turn?"
    positions: int = 64

    def analyze(self, study: Study, *, seed: int) -> Finding:
        del seed  # nothing is drawn
        view, viewed = study.single
        found = measured(viewed.test)
        means = [mean(name, rows.nanmean(1)) for name, rows in found.items()]
        panels = (panel(name, rows[:, : self.positions]) for name, rows in found.items())
        says = f"States move by {means[0]}, and turn by {means[1]}."
        caption = "Means over test documents and bands of two standard errors, by position."
        figure = Figure("positions", tuple(panels), caption)
        rows = {name.replace(" ", "_"): value for name, value in found.items()}
        return Finding(str(view), says, READING, tuple(means), rows, (figure,))


def measured(paths: Paths) -> dict[str, Tensor]:
    """Speeds and angles, ``[document, time]``, NaN where nothing was observed."""
    parts: dict[str, list[Tensor]] = {name: [] for name in UNITS}
    for block in map(require_finite, paths):
        step, seen = block.states.diff(dim=1), block.steps
        cosine = cosine_similarity(step[:, 1:], step[:, :-1], dim=-1).clamp(-1, 1)
        angle = cosine.arccos().rad2deg().where(seen[:, 1:] & seen[:, :-1], torch.nan)
        parts["speed"].append(step.norm(dim=-1).where(seen, torch.nan))
        parts["turning angle"].append(angle)
    wide = max(len(part.mT) for part in parts["speed"])
    return {
        name: torch.cat([pad(p, (0, wide - len(p.mT)), value=torch.nan) for p in own])
        for name, own in parts.items()
    }


def mean(name: str, each: Tensor) -> Estimate:
    """Over documents."""
    each = each[~each.isnan()]
    error = float(each.std() / len(each) ** 0.5) if len(each) > 1 else None
    return Estimate(name, float(each.mean()), error, UNITS[name])


def panel(name: str, rows: Tensor) -> Panel:
    """The mean at each position that two documents or more reach, within its error."""
    count = (~rows.isnan()).sum(0)
    rows = rows[:, count > 1]
    x = (count > 1).nonzero()[:, 0].double()
    centre = rows.nanmean(0)
    variance = (rows - centre).square().nansum(0) / (count[count > 1] - 1)
    reach = 2 * (variance / count[count > 1]).sqrt()
    band = Layer("band", {"x": x, "low": centre - reach, "high": centre + reach})
    line = Layer("line", {"x": x, "y": centre})
    return Panel("steps from the start", f"{name} ({UNITS[name]})", (band, line))
