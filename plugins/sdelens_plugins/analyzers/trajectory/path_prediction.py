"""One path with its one-step and free-running predictions, in the plane."""

from dataclasses import dataclass

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
    actual: Float[Tensor, "time 2"]
    predicted: Float[Tensor, "step 2"]
    """Predictions of the states after the first, each from the actual state before it."""
    band: Band
    """Of the process run freely from the first state."""
    inside: float
    """The share of the two components inside the band."""
    r2: float
    """One step ahead: the explained share of the squared increments."""

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
