"""Principal components of a view's training states, as axes of figures."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.basis import Basis, fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.standard_metric import standard_weights
from sdelens.paths.trajectories import Paths


@dataclass(frozen=True, eq=False)
class PrincipalComponents:
    """Some principal components of standardised states, counted from 0."""

    basis: Basis
    components: tuple[int, ...]

    @classmethod
    def of(cls, train: Paths, count: int) -> "PrincipalComponents":
        """The first `count` components, or all if there are fewer, in one pass over the paths."""
        most = min(count, next(iter(train)).states.shape[-1])
        basis = fit_basis(BasisSpec(f"whiten:{most}"), train)
        return cls(basis, tuple(range(basis.latent)))

    @classmethod
    def plane(cls, train: Paths) -> "PrincipalComponents":
        """The first two; raises `BadNumbers` if states vary in one direction only."""
        plane = cls.of(train, 2)
        if len(plane.components) < 2:
            raise BadNumbers(
                "a plane needs states that vary in two directions, but these vary in one"
            )
        return plane

    def select(self, *components: int) -> "PrincipalComponents":
        """A selection of these components."""
        if len(set(components)) < len(components) or not set(components) <= set(self.components):
            requested = ", ".join(str(k + 1) for k in components)
            raise UsageError(
                f"components must be different and from 1 to {len(self.components)}, got "
                f"{requested}: "
                "states that vary in fewer directions have fewer"
            )
        return PrincipalComponents(self.basis, components)

    @property
    def _variance(self) -> Float[Tensor, " latent"]:
        """The variance along every component of the basis."""
        return standard_weights(self.basis).to(self.basis.decoder)

    @property
    def _scale(self) -> Float[Tensor, " component"]:
        """The standard deviation along each component."""
        return self._variance.sqrt()[list(self.components)]

    @property
    def shares(self) -> list[float]:
        """The share of the standardised variance along each component."""
        variance = self._variance
        explained = variance / variance.sum() * self.basis.explained
        shares: list[float] = explained[list(self.components)].tolist()
        return shares

    @property
    def names(self) -> list[str]:
        """PC 1, PC 2 and so on."""
        return [f"PC {k + 1}" for k in self.components]

    @property
    def labels(self) -> list[str]:
        """Axis labels with the share of variance explained."""
        pairs = zip(self.names, self.shares, strict=True)
        return [f"{name} ({share:.0%} of variance)" for name, share in pairs]

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch component"]:
        """The coordinates of states along the components."""
        z = self.basis.encode(x.new_zeros(x.shape[:-1]), x)
        return z[..., list(self.components)] * self._scale

    def direction(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch component"]:
        """The coordinates of differences of states."""
        return (
            v.to(self.basis.encoder) @ self.basis.encoder[:, list(self.components)] * self._scale
        )

    def lift(self, z: Float[Tensor, "*batch component"]) -> Float[Tensor, "*batch dim"]:
        """The states, in float64, with these coordinates and all other components at their mean.

        Principal components are uncorrelated: this is also the linear prediction of the others.
        """
        rows = z.double() / self._scale
        wide = rows @ self.basis.decoder[list(self.components)].double()
        return wide + self.basis.mean_at(torch.zeros(z.shape[:-1], device=wide.device))
