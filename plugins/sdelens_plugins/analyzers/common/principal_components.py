"""The first principal components of a view's training states, as axes."""

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
    """Some principal components, counted from 0, in deviations of one standardised coordinate."""

    basis: Basis
    chosen: tuple[int, ...]

    @classmethod
    def of(cls, train: Paths, count: int) -> "PrincipalComponents":
        """The first `count` components, or as many as there are, in one pass over the paths."""
        most = min(count, next(iter(train)).states.shape[-1])
        basis = fit_basis(BasisSpec(f"whiten:{most}"), train)
        return cls(basis, tuple(range(basis.latent)))

    @classmethod
    def plane(cls, train: Paths) -> "PrincipalComponents":
        """The first two; an error where states vary in one direction only."""
        found = cls.of(train, 2)
        if len(found.chosen) < 2:
            raise BadNumbers(
                "states must vary in two directions to be shown in a plane, but these vary in one"
            )
        return found

    def select(self, *chosen: int) -> "PrincipalComponents":
        """Some of them."""
        if len(set(chosen)) < len(chosen) or not set(chosen) <= set(self.chosen):
            asked = ", ".join(str(k + 1) for k in chosen)
            raise UsageError(
                f"components must be different and from 1 to {len(self.chosen)}, got {asked}: "
                "states that vary in fewer directions have fewer"
            )
        return PrincipalComponents(self.basis, chosen)

    @property
    def _variance(self) -> Float[Tensor, " latent"]:
        """Along every component that was found."""
        return standard_weights(self.basis).to(self.basis.decoder)

    @property
    def _scale(self) -> Float[Tensor, " component"]:
        """Standard deviations along the components."""
        return self._variance.sqrt()[list(self.chosen)]

    @property
    def shares(self) -> list[float]:
        """The share of the standardised variance along each."""
        variance = self._variance
        found = variance / variance.sum() * self.basis.explained
        shares: list[float] = found[list(self.chosen)].tolist()
        return shares

    @property
    def names(self) -> list[str]:
        """PC 1, PC 2 and so on."""
        return [f"PC {k + 1}" for k in self.chosen]

    @property
    def labels(self) -> list[str]:
        """Axis labels with the variance explained."""
        pairs = zip(self.names, self.shares, strict=True)
        return [f"{name} ({share:.0%} of variance)" for name, share in pairs]

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch component"]:
        """States along the components."""
        found = self.basis.encode(x.new_zeros(x.shape[:-1]), x)
        return found[..., list(self.chosen)] * self._scale

    def direction(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch component"]:
        """Differences of states along the components."""
        return v.to(self.basis.encoder) @ self.basis.encoder[:, list(self.chosen)] * self._scale

    def lift(self, z: Float[Tensor, "*batch component"]) -> Float[Tensor, "*batch dim"]:
        """The states of the plane: all other components at their mean.

        Principal components are uncorrelated, so that this is also the linear prediction of the
        others from these.
        """
        rows = (z / self._scale).to(self.basis.decoder)
        wide = rows @ self.basis.decoder[list(self.chosen)]
        return wide + self.basis.mean_at(torch.zeros(z.shape[:-1], device=wide.device))
