r"""Noise that is the same in every state, and its forms.

``scalar``: one deviation for all coordinates; ``diagonal``; ``correlated:k``:
:math:`S = D^2 + UU^\top` with k columns; ``full``: any covariance, by its Cholesky factor.
"""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.laws.law import Noise
from sdelens.laws.matrices import cholesky
from sdelens.laws.scale import DiagonalScale, FullScale, LowRankScale, Scale


@dataclass(frozen=True)
class NoiseSpec:
    """``scalar``, ``diagonal``, ``correlated:k`` or ``full``."""

    name: str = "diagonal"
    by_time: bool = False
    """Whether deviations are those of each time; correlations are the same at all of them."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"scalar|diagonal|full|correlated:[1-9]\d*", self.name):
            raise UsageError(
                f"noise must be scalar, diagonal, correlated:K or full, got {self.name!r}"
            )

    @classmethod
    def parse(cls, text: str) -> "NoiseSpec":
        """A form, and ``@time`` after it where deviations are those of each time.

        >>> NoiseSpec.parse("diagonal@time")
        NoiseSpec(name='diagonal', by_time=True)
        """
        name, at, word = text.partition("@")
        if at and word != "time":
            raise UsageError(f"after @ noise knows time only, as in {name}@time; got {text!r}")
        return cls(name, by_time=bool(at))

    @property
    def diagonal(self) -> bool:
        """Whether coordinates are independent."""
        return self.name in ("scalar", "diagonal")

    def rank(self, dim: int) -> int | None:
        """The number of shared columns, below the dimension; None where there are none."""
        if not self.name.startswith("correlated") or dim == 1:
            return None
        return min(int(self.name.partition(":")[2]), dim - 1)


@dataclass(frozen=True, eq=False)
class ConstantNoise(Noise):
    """The same noise in every state: deviations, and columns or a root where there are."""

    std: Float[Tensor, " dim"]
    columns: Float[Tensor, "dim rank"] | None = None
    root: Float[Tensor, "dim dim"] | None = None

    @property
    def scale(self) -> Scale:
        """The noise itself."""
        if self.root is not None:
            return FullScale(self.root)
        if self.columns is not None:
            return LowRankScale(self.std, self.columns)
        return DiagonalScale(self.std)

    @property
    def diagonal(self) -> bool:
        """Whether coordinates are independent."""
        return self.columns is None and self.root is None

    def __call__(self, t: Float[Tensor, "*batch"], x: Float[Tensor, "*batch dim"]) -> Scale:
        del t, x
        return self.scale

    def tensors(self) -> dict[str, Tensor]:
        named = {"std": self.std, "columns": self.columns, "root": self.root}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    @classmethod
    def of(
        cls, spec: NoiseSpec, covariance: Float[Tensor, "dim dim"], count: int | None = None
    ) -> "ConstantNoise":
        """The noise of that form nearest in likelihood to residuals of this covariance.

        Raises `BadNumbers` for full noise where the covariance is of no more than `dim` residuals.
        """
        dim = len(covariance)
        if spec.name == "full" and count is not None and count <= dim:
            raise BadNumbers(
                f"full noise of {dim} coordinates needs more than {dim} transitions, got {count}: "
                f"give more, or --set probe.noise=diagonal, or --basis pca:{max(1, count // 8)}"
            )
        variance = covariance.diagonal()
        variance = variance.clamp(min=1e-12 * float(variance.max()))
        std = variance.sqrt()
        if spec.name == "scalar":
            return cls(variance.mean().sqrt().repeat(len(variance)).float())
        if spec.name == "full" and len(variance) > 1:
            correlation = covariance / std[:, None] / std
            correlation.diagonal().add_(1e-6)  # of copies of one coordinate
            root = cholesky(correlation) * std[:, None]
            return cls(std.float(), root=root.float())
        rank = spec.rank(len(variance))
        if rank is None:
            return cls(std.float())
        unique, columns = factor_analysis(covariance / std[:, None] / std, rank)
        return cls((unique * std).float(), (columns * std[:, None]).float())


def factor_analysis(
    correlation: Float[Tensor, "dim dim"], rank: int, sweeps: int = 50
) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim rank"]]:
    r"""Unique standard deviations D and loadings U of :math:`D^2 + UU^\top`, by likelihood.

    Given D, the best U is in the leading eigenvectors of :math:`D^{-1}RD^{-1}`; given U, D follows
    from the diagonal (Lawley 1940; Joreskog 1967).
    """
    unique = torch.full_like(correlation.diagonal(), 0.5)
    columns = correlation.new_zeros(len(unique), rank)
    for _ in range(sweeps):
        root = unique.sqrt()
        values, vectors = torch.linalg.eigh(correlation / root[:, None] / root)
        gains = (values[-rank:] - 1).clamp(min=0).sqrt()
        columns = root[:, None] * vectors[:, -rank:] * gains
        before = unique
        unique = (correlation.diagonal() - columns.square().sum(-1)).clamp(min=1e-3)
        if (unique - before).abs().max() < 1e-5:
            break
    return unique.sqrt(), columns
