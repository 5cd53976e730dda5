"""The plane of the first two principal components of a view's training states."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers
from sdelens.paths.basis import Basis, fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Paths


@dataclass(frozen=True, eq=False)
class Plane:
    """Two principal components of the standardised states, and the variance along each."""

    basis: Basis
    variance: Float[Tensor, "2"]
    """Of the training states, in units of one standardised coordinate's."""

    @classmethod
    def of(cls, train: Paths) -> "Plane":
        """The plane of training paths, in one pass over them."""
        basis = fit_basis(BasisSpec("whiten:2"), train)
        if basis.latent < 2:
            raise BadNumbers(
                "states must vary in two directions to be shown in a plane, but these vary in one"
            )
        return cls(basis, (basis.decoder / basis.spread).square().sum(-1))

    @property
    def shares(self) -> tuple[float, float]:
        """The share of the standardised variance along each component."""
        first, second = (self.variance / self.variance.sum() * self.basis.explained).tolist()
        return first, second

    @property
    def labels(self) -> tuple[str, str]:
        """Axis labels with the variance explained."""
        first, second = self.shares
        return f"PC 1 ({first:.0%} of variance)", f"PC 2 ({second:.0%} of variance)"

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch 2"]:
        """States in the plane, in standard deviations of one standardised coordinate."""
        whitened = self.basis.encode(x.new_zeros(x.shape[:-1]), x)
        return whitened * self.variance.sqrt()
