"""The linear part of a step and its contraction under shared noise."""

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.dynamics.lyapunov import Quadratic
from sdelens.dynamics.sample import Sample
from sdelens.dynamics.step_map import StepMap
from sdelens.estimation.ratio import summed
from sdelens.laws.sde import SDE
from sdelens_plugins.analyzers.common.document_means import DocumentMean

JACOBIAN_ENTRIES = 2**13
"""States times coordinates of the mean Jacobian, which bounds its time and memory."""


def mean_jacobian(sde: SDE, sample: Sample) -> Float[Tensor, "dim dim"]:
    """The derivative of a step, averaged over states, each at its own time."""
    count = max(8, JACOBIAN_ENTRIES // sample.x.shape[-1])
    index = torch.linspace(0, len(sample.x) - 1, min(count, len(sample.x))).long()
    return StepMap.of(sde, sample.t[index]).jacobian(sample.x[index]).double().mean(0)


def spectral_radius(matrix: Float[Tensor, "dim dim"]) -> float:
    """The largest modulus of an eigenvalue."""
    return float(torch.linalg.eigvals(matrix).abs().max())


def contraction(
    form: Quadratic, step: StepMap, sample: Sample
) -> tuple[DocumentMean, DocumentMean] | None:
    """The mean-square contraction over pairs of states, and the share that moves apart.

    Pairs step under the same noise. None if no pair is apart.
    """
    half = (len(sample.x) + 1) // 2
    after, before = form.contraction(step, sample.x[:half], sample.x[-half:])
    apart = before > 0
    if not apart.any():
        return None
    document = sample.document[:half][apart]
    sums = [summed(values[apart], document, sample.documents)[0] for values in (after, before)]
    growing = summed((after > before)[apart].double(), document, sample.documents)
    return DocumentMean.ratio(*sums), DocumentMean.ratio(*growing)
