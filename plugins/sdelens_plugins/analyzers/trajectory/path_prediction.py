"""One path with its one-step and free-running predictions, in the plane."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens_plugins.analyzers.common.observed_path import ObservedPath
from sdelens_plugins.analyzers.common.principal_components import PrincipalComponents
from sdelens_plugins.analyzers.trajectory.free_run import Band, free_run


@dataclass(frozen=True, eq=False)
class PathPrediction:
    """One path and its predictions, in the plane."""

    path: ObservedPath
    words: tuple[str, ...]
    plane: PrincipalComponents
    actual: Float[Tensor, "time component"]
    predicted: Float[Tensor, "step component"]
    """Predictions of the states after the first, each from the actual state before it."""
    band: Band
    """Of the process run freely from the first state."""
    inside: float
    """The share of the components inside the band."""
    r2: float
    """One step ahead: the explained share of the squared increments."""

    @property
    def time_label(self) -> str:
        """Label of an axis of time."""
        return "token position" if any(self.words) else "time"

    @property
    def labels(self) -> tuple[str, str]:
        """Labels of the two axes on which the path is drawn."""
        x, y = [self.time_label, *self.plane.labels][-2:]
        return x, y

    def drawn(self, points: Float[Tensor, "time component"]) -> Float[Tensor, "time 2"]:
        """Points of the last times in the plane, or against time if there is one component."""
        t = self.path.times[-len(points) :].to(points)
        return torch.cat([t[:, None], points], dim=1)[:, -2:]

    @classmethod
    def of(
        cls,
        fitted: Fitted,
        plane: PrincipalComponents,
        path: ObservedPath,
        words: tuple[str, ...],
        *,
        draws: int,
        seed: int,
    ) -> "PathPrediction":
        """Predicts one step ahead and by `draws` free-running paths."""
        t, x = path.times, path.states
        latent = fitted.basis.encode(t, x)
        mean = fitted.sde.transition(t[:-1], latent[:-1]).mean
        squares = (latent[1:] - mean).square().sum() / latent.diff(dim=0).square().sum()
        free = free_run(fitted, x[:1], t=float(t[0]), steps=path.steps, draws=draws, seed=seed)
        band = Band.of(plane.project(free[:, 0]))
        actual = plane.project(x)
        return cls(
            path=path,
            words=words,
            plane=plane,
            actual=actual,
            predicted=plane.project(fitted.basis.decode(t[1:], mean.to(x))),
            band=band,
            inside=float(band.contains(actual)[1:].float().mean()),
            r2=1 - float(squares),
        )
