"""Sentences, estimates and arrays of predicted trajectories."""

from dataclasses import dataclass

from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.report import Estimate
from sdelens.wording import counted
from sdelens_plugins.analyzers.trajectory.free_run import LEVEL, Horizons
from sdelens_plugins.analyzers.trajectory.path_prediction import PathPrediction

HORIZONS = (1, 5, 10, 20)
"""Steps ahead at which free-running predictions are scored."""
DISTANCES = {
    "free": "distance of free runs' mean",
    "linear": "distance of the linear law's mean",
    "lead": "linear law's distance minus the fit's",
    "centre": "distance of the mean state",
}
READING = (
    "A plane shows two components of the states; the axes give their share of the variance of the "
    "training states. One step ahead, each predicted point starts from the actual state before "
    "it, so a model that copies the current state looks good: judge by the increment R², which is "
    "0 for the random walk and negative for worse predictions. A free run sees the first state "
    "only, and its mean must leave the actual path sooner or later. The fit is calibrated if the "
    "band contains nine points in ten. It predicts more than the starting state while its "
    "distance is below those of the random walk and of the mean state, which ignores the text. "
    "The value of a nonlinear drift is the lead over the linear law, which is fitted to the same "
    "documents and also run freely; its own noise does not move its mean. One path is an "
    "illustration: its points depend on each other, so it has no error; errors are over "
    "documents. Bands that contain the states do not show that they are a diffusion."
)


@dataclass(frozen=True, eq=False)
class TrajectoryResults:
    """One predicted path, and the prediction errors over documents."""

    fitted: Fitted
    path: PathPrediction
    horizons: Horizons

    @property
    def miscalibration(self) -> str:
        """Whether bands are significantly too narrow or too wide; empty if neither."""
        coverage = self.horizons.coverage
        if not coverage.stderr or not coverage.differs_from(LEVEL):
            return ""
        return "too narrow" if coverage.value < LEVEL else "too wide"

    def headline(self) -> str:
        """The calibration of the free-running bands."""
        wrong = f"are {self.miscalibration} and " if self.miscalibration else ""
        return (
            f"The free-running {LEVEL:.0%} bands {wrong}contain "
            f"{self.horizons.coverage.percent} of held-out states."
        )

    def reading(self) -> str:
        """Why bands may be too narrow, if they are, and how to read the rest."""
        return f"{self._cause()}{READING}"

    def _cause(self) -> str:
        if self.miscalibration != "too narrow":
            return ""
        latent = self.fitted.basis.latent
        if self.fitted.sde.noise_type == "diagonal" and latent > 1:
            return (
                "The free-running bands are too narrow, and diagonal noise is a possible cause: "
                "it ignores correlations between coordinates. Along a leading component, to which "
                "many coordinates contribute, the correlations add up, so the simulated variance "
                "is too small. A fit with --set "
                f"probe.noise=correlated:{min(32, latent // 2)} includes them. "
            )
        return (
            "The free-running bands are too narrow although the noise of the fit is not "
            "diagonal. Possible causes are drift errors that add up over steps, tails heavier "
            "than Gaussian, or memory longer than one step. "
        )

    def estimates(self) -> tuple[Estimate, ...]:
        """The path, then relative distances and coverage over documents."""
        coverage = self.horizons.coverage
        documents = counted(coverage.documents, "document")
        return (
            *self._path_estimates(),
            *(
                self.horizons.to_walk(name, steps).estimate(
                    f"{label}, {counted(steps, 'step')}", "of the random walk's"
                )
                for steps in HORIZONS
                if steps <= self.horizons.free.shape[1]
                for name, label in DISTANCES.items()
            ),
            Estimate(
                f"inside the 90% band, {documents}",
                coverage.value,
                coverage.stderr,
                "(0.9 expected)",
            ),
        )

    def _path_estimates(self) -> tuple[Estimate, ...]:
        """Without errors: the points of one path depend on each other."""
        plane = self.path.plane
        return (
            *(
                Estimate(f"variance explained by {name}", share, unit="of the variance")
                for name, share in zip(plane.names, plane.shares, strict=True)
            ),
            Estimate("one-step increment R², this path", self.path.r2),
            Estimate("inside the 90% band, this path", self.path.inside, unit="(0.9 expected)"),
        )

    def arrays(self) -> dict[str, Tensor]:
        """The path in the plane with positions and tokens, and errors by horizon."""
        path = self.path
        return {
            "positions": path.path.times,
            "tokens": path.path.tokens,
            "actual": path.actual,
            "predicted": path.predicted,
            "free.mean": path.band.mean,
            "free.low": path.band.low,
            "free.high": path.band.high,
        } | {f"horizon.{name}": values for name, values in vars(self.horizons).items()}
