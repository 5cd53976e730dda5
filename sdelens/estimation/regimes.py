r"""Switching regressions: linear regressions selected by a hidden Markov chain.

With the features :math:`f_t = (x_t, 1)` and the residual :math:`r_t` of a common mean, a Markov
chain :math:`z_t` with K regimes selects the law of each transition:

.. math:: r_t = f_t \Theta_{z_t} + \varepsilon_t, \quad
          \varepsilon_t \sim N(0, D_z + U_z U_z^\top).

States are observed, so the filter over regimes is exact: Hamilton, "A new approach to the economic
analysis of nonstationary time series" (1989), applied to language models by Carson and Reisizadeh
(2025). All tensors may have a leading axis of members, for several starts fitted together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sdelens.estimation.additive import AdditiveMean
from sdelens.estimation.noise import ConstantNoise
from sdelens.laws.law import Gaussian, Law, group_of, prefixed
from sdelens.laws.mixture import Mixture
from sdelens.laws.noise_families.low_rank import LowRankScale
from sdelens.laws.scale import LOG_2PI
from sdelens.paths.trajectories import Paths, Trajectories


@dataclass(frozen=True, eq=False)
class Chain:
    """A Markov chain of regimes; all probabilities are logarithms."""

    start: Float[Tensor, "*member regime"]
    moves: Float[Tensor, "*member regime regime"]
    """Transition probabilities from the regime of the row to that of the column."""

    def forward(
        self, evidence: Float[Tensor, "*member path step regime"]
    ) -> Float[Tensor, "*member path time regime"]:
        """Filter: log P(regime of the transition from each state | states up to it).

        `evidence` is the log density of each transition under each regime, 0 where unobserved.
        """
        paths = (*evidence.shape[:-2], evidence.shape[-1])  # the number of steps may be zero
        weights = [self.start[..., None, :].expand(paths)]
        for now in evidence.unbind(-2):
            seen = (weights[-1] + now).log_softmax(-1)
            weights.append(torch.logsumexp(seen[..., None] + self.moves[..., None, :, :], -2))
        return torch.stack(weights, -2)

    def backward(
        self, evidence: Float[Tensor, "*member path step regime"]
    ) -> Float[Tensor, "*member path step regime"]:
        """Log p(later states | regime of each transition), up to a constant per transition."""
        if evidence.shape[-2] == 0:
            return torch.zeros_like(evidence)
        later = [torch.zeros_like(evidence[..., 0, :])]
        for now in evidence[..., 1:, :].flip(-2).unbind(-2):
            after = (later[-1] + now).log_softmax(-1)[..., None, :]
            later.append(torch.logsumexp(after + self.moves[..., None, :, :], -1))
        return torch.stack(later[::-1], -2)


@dataclass(frozen=True, eq=False)
class Regimes:
    """K linear regressions, each with its own noise, and the chain that selects one."""

    coefficients: Float[Tensor, "*member regime feature dim"]
    variance: Float[Tensor, "*member regime dim"]
    """D, the variances of the independent noise of each coordinate."""
    columns: Float[Tensor, "*member regime dim rank"]
    """U, the columns of the shared noise; rank 0 if the noise is diagonal."""
    chain: Chain

    def covariance(self) -> Float[Tensor, "*member regime dim dim"]:
        """Covariance of the noise of each regime."""
        return self.variance.diag_embed() + self.columns @ self.columns.mT

    def log_density(
        self, residual: Float[Tensor, "*member regime transition dim"]
    ) -> Float[Tensor, "*member regime transition"]:
        """Log density of residuals under the noise of each regime, by Woodbury's identity."""
        std = self.variance.sqrt()
        scaled = residual / std[..., None, :]
        whitened = self.columns / std[..., None]
        identity = torch.eye(whitened.shape[-1]).to(whitened)
        root: Tensor = torch.linalg.cholesky(identity + whitened.mT @ whitened)
        projector = torch.linalg.solve_triangular(root, whitened.mT, upper=False).mT
        squares = scaled.square().sum(-1) - (scaled @ projector).square().sum(-1)
        log_det = std.log().sum(-1) + root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        density: Tensor = -0.5 * (squares + residual.shape[-1] * LOG_2PI) - log_det[..., None]
        return density

    def __getitem__(self, member: int | slice) -> "Regimes":
        """Select members by index or slice."""
        chain = Chain(self.chain.start[member], self.chain.moves[member])
        own = (self.coefficients[member], self.variance[member], self.columns[member])
        return Regimes(*own, chain)

    def to(self, dtype: torch.dtype) -> "Regimes":
        """Convert all tensors to a dtype."""
        chain = Chain(self.chain.start.to(dtype), self.chain.moves.to(dtype))
        own = (self.coefficients.to(dtype), self.variance.to(dtype), self.columns.to(dtype))
        return Regimes(*own, chain)


def with_one(x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch feature"]:
    """Features: the state and a 1 for the intercept."""
    return torch.cat([x, torch.ones_like(x[..., :1])], -1)


@dataclass(frozen=True, eq=False)
class Piece:
    """Features and residuals of the observed transitions of some paths, path by path."""

    features: Float[Tensor, "transition feature"]
    residual: Float[Tensor, "transition dim"]
    steps: Bool[Tensor, "path step"]


@dataclass(frozen=True, eq=False)
class Departures:
    """Residuals of a common mean, in pieces of about `size` transitions."""

    paths: Paths
    common: AdditiveMean
    size: int = 8192

    def __iter__(self) -> Iterator[Piece]:
        for block in self.paths:
            rows = torch.arange(len(block.mask), device=block.mask.device)
            for part in torch.split(rows, max(1, self.size // block.mask.shape[1])):
                piece = self._piece(block.rows(part))
                if len(piece.features):
                    yield piece

    def _piece(self, block: Trajectories) -> Piece:
        flat = block.flat()
        residual = flat.following - self.common(flat.t, flat.x, flat.token)
        return Piece(with_one(flat.x), residual, block.steps)


@dataclass(frozen=True, eq=False)
class SwitchingLaw(Law):
    """The law ``X' = A_z X + c_z + c_t + noise_z`` with the regime z filtered along the path."""

    common: AdditiveMean
    regimes: Regimes

    @property
    def matrices(self) -> Float[Tensor, "regime dim dim"]:
        """The matrix A of each regime."""
        return self.common.matrix + self.regimes.coefficients[:, :-1].mT

    def predict(self, past: Trajectories) -> Mixture:
        t = past.times.expand(past.mask.shape)
        common = self.common(t, past.states, past.tokens)
        seen = with_one(past.states)
        components = tuple(
            Gaussian(common + seen @ departure, noise(t, past.states))
            for departure, noise in zip(self.regimes.coefficients, self._noises(), strict=True)
        )
        return Mixture(self._filtered(past, components).to(seen), components)

    def _filtered(
        self, past: Trajectories, components: tuple[Gaussian, ...]
    ) -> Float[Tensor, "path time regime"]:
        """Log probabilities of the regimes given the states so far."""
        following = past.states[:, 1:]
        steps = [Gaussian(c.centre[:, :-1], c.scale).log_density(following) for c in components]
        evidence = torch.stack(steps, -1).masked_fill(~past.steps[..., None], 0)
        return self.regimes.chain.forward(evidence.double())

    def _noises(self) -> list[ConstantNoise]:
        regimes = self.regimes
        if regimes.columns.shape[-1] == 0:
            return [ConstantNoise.independent(each.sqrt()) for each in regimes.variance]
        parts = zip(regimes.variance, regimes.columns, strict=True)
        return [
            ConstantNoise(LowRankScale(variance.sqrt(), columns)) for variance, columns in parts
        ]

    def tensors(self) -> dict[str, Tensor]:
        regimes, chain = self.regimes, self.regimes.chain
        own = {name: getattr(regimes, name) for name in ("coefficients", "variance", "columns")}
        moving = {"start": chain.start, "moves": chain.moves}
        return own | prefixed(common=self.common.tensors(), chain=moving)

    @classmethod
    def restore(cls, tensors: dict[str, Tensor]) -> "SwitchingLaw":
        """Restore from the result of `tensors`."""
        own = {name: tensors[name] for name in ("coefficients", "variance", "columns")}
        regimes = Regimes(**own, chain=Chain(**group_of(tensors, "chain")))
        return cls(AdditiveMean(**group_of(tensors, "common")), regimes)
