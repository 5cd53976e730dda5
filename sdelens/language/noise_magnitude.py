r"""The size of a fitted diffusion as one number for each state.

:math:`\sqrt{\mathrm{tr}(\sigma\sigma^\top)\,dt / d}` in training-standardised coordinates: the
root mean square, over d coordinates, of the noise of one step. The paper's diffusion magnitude
(arXiv 2408.11863, Figures 4 and 5), made independent of the width and the units of the states.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.scorecard import pieces
from sdelens.fitting.fitted import Fitted
from sdelens.language.transition_rows import concatenate_columns, transition_documents
from sdelens.laws.scale import Scale
from sdelens.paths.standard_metric import per_dimension, standard_weights
from sdelens.paths.trajectories import Trajectories


def noise_magnitude(
    fitted: Fitted, t: Float[Tensor, "*batch"], z: Float[Tensor, "*batch latent"]
) -> Float[Tensor, "*batch"]:
    """Size of the noise of one step at latent states, in training standard deviations."""
    variance = fitted.sde.diffusion(t, z).variance().expand(z.shape) * fitted.dt
    return per_dimension(variance, standard_weights(fitted.basis)).sqrt()


def drift_uncertainty(
    fitted: Fitted, t: Float[Tensor, "*batch"], z: Float[Tensor, "*batch latent"]
) -> Float[Tensor, "*batch"]:
    """Standard deviation of the drift over ensemble members, in the unit of `noise_magnitude`.

    It measures the uncertainty of the mean due to the sample of documents (epistemic), whereas
    `noise_magnitude` is the noise of the fit (aleatoric). NaN with fewer than two members.
    """
    if len(fitted.members) < 2:
        return torch.full(z.shape[:-1], torch.nan, dtype=torch.float64)
    drifts = torch.stack([law.drift(t, z) for law in fitted.members])  # type: ignore[attr-defined]
    squares = drifts.double().var(0) * fitted.dt**2
    return per_dimension(squares, standard_weights(fitted.basis)).sqrt()


def noise_along(
    scale: Scale, axes: Float[Tensor, "latent component"], *batch: int
) -> Float[Tensor, "*batch component"]:
    """Standard deviation of the noise along each axis, for each state of a batch."""
    factor = scale.factor()
    deviation: Tensor = (axes.to(factor).mT @ factor).norm(dim=-1)
    return deviation.expand(*batch, axes.shape[1])


@dataclass(frozen=True, eq=False)
class NoiseMagnitudes:
    """Aleatoric, epistemic and actual error of every transition, in order."""

    document: Int[Tensor, " row"]
    position: Float[Tensor, " row"]
    """The time of the state that the step starts from."""
    aleatoric: Float[Tensor, " row"]
    epistemic: Float[Tensor, " row"]
    error: Float[Tensor, " row"]
    """Root mean square error of the predicted next state over coordinates, in the same unit."""

    @classmethod
    @torch.no_grad()
    def of(cls, fitted: Fitted, latent: Iterable[Trajectories]) -> "NoiseMagnitudes":
        """Compute in one pass over latent paths."""
        weights = standard_weights(fitted.basis)
        rows = []
        for block in pieces(latent):
            steps = block.flat()
            mean = fitted.sde.transition(steps.t, steps.x).mean
            error = per_dimension((steps.following - mean).square(), weights).sqrt()
            sizes = (f(fitted, steps.t, steps.x) for f in (noise_magnitude, drift_uncertainty))
            rows.append((transition_documents(block), steps.t, *sizes, error))
        return cls(*concatenate_columns(rows))

    @property
    def constant(self) -> bool:
        """Whether the noise is the same everywhere, up to rounding."""
        least, most = self.aleatoric.aminmax()
        return bool(most - least <= 1e-5 * most)


@torch.no_grad()
def noise_magnitudes(fitted: Fitted, latent: Iterable[Trajectories]) -> Float[Tensor, " row"]:
    """The noise magnitude of every transition of latent paths, in order."""
    blocks = (block.flat() for block in pieces(latent))
    return torch.cat([noise_magnitude(fitted, steps.t, steps.x).cpu() for steps in blocks])
