r"""Affine coordinates for the fit of a law: :math:`z = (x - m_t)E`, :math:`x = zD + m_t`.

A basis is fitted on training documents only. ``raw`` keeps the units of the states; ``standard``
scales each coordinate to unit variance; ``pca:K`` takes the K leading principal components of the
standardised states, and ``whiten:K`` also scales these to unit variance. Constant coordinates are
dropped, and so are principal directions whose variance is below 1e-6 of the largest;
`Basis.notes` names them. ``center="position"`` subtracts the mean state of each position instead
of the overall mean: learned positions carry up to a third of the variance of a state.

States are centred in float64, so a coordinate may be far from zero or in any unit. A coordinate is
constant if all training states have the same value, or differ by less than the rounding of their
float type.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.basis_spec import BasisSpec as BasisSpec
from sdelens.paths.moments import nearest
from sdelens.paths.state_sums import StateSums
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories, require_finite
from sdelens.wording import counted

FLOOR = 1e-6
"""Variance relative to the largest below which a principal direction is dropped as rounding."""
NAMED = 10
"""Maximum number of dropped coordinates that a note lists."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Affine map between states and latent coordinates, with the remaining coordinates."""

    times: Float[Tensor, " time"]
    means: Float[Tensor, "time dim"]
    """In float64; other tensors are in float32."""
    encoder: Float[Tensor, "dim latent"]
    decoder: Float[Tensor, "latent dim"]
    spread: Float[Tensor, " dim"]
    """Standard deviation of each coordinate about the mean, on training states."""
    explained: Float[Tensor, ""]
    """Share of the standardised variance in the latent coordinates."""
    left_encoder: Float[Tensor, "dim left"]
    """Map to standardised coordinates along the principal directions after the first K."""
    left_decoder: Float[Tensor, "left dim"]
    dropped: int
    """Number of constant coordinates, and of principal directions that vary too little."""

    @property
    def latent(self) -> int:
        """The number of latent coordinates."""
        return self.encoder.shape[1]

    @property
    def left(self) -> int:
        """The number of left-out coordinates."""
        return self.left_encoder.shape[1]

    def mean_at(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """The mean state at time t, in float64."""
        return self.means[nearest(self.times, t)]

    def encode(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch latent"]:
        """Map states of any float type to latent coordinates."""
        return (x - self.mean_at(t)).to(self.encoder.dtype) @ self.encoder

    def encode_left(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch left"]:
        """Map states to the standardised coordinates that `encode` leaves out."""
        return (x - self.mean_at(t)).to(self.encoder.dtype) @ self.left_encoder

    def decode(
        self, t: Float[Tensor, "*#batch"], z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch dim"]:
        """Map latent coordinates to states of their float type.

        This is the inverse of `encode` on the kept directions. Far from zero, states need float64.
        """
        return (z @ self.decoder.to(z) + self.mean_at(t)).to(z)

    @property
    def constant(self) -> list[int]:
        """Numbers of the dropped coordinates, from 0."""
        known = torch.cat([self.decoder, self.left_decoder]) != 0
        found: list[int] = (~known.any(0)).nonzero()[:, 0].tolist()
        return found

    @property
    def notes(self) -> list[str]:
        """A sentence on the dropped coordinates, and one on the dropped principal directions."""
        constant, notes = self.constant, []
        if constant:
            listed = ", ".join(map(str, constant[:NAMED])) + ", …" * (len(constant) > NAMED)
            notes.append(
                f"{counted(len(constant), 'coordinate')} (of {len(self.spread):,}, from 0: "
                f"{listed}) did not vary in training beyond the rounding of their float type "
                "and were left out: their drift and noise are 0."
            )
        rest = self.dropped - len(constant)
        if rest:
            notes.append(
                f"{counted(rest, 'principal direction')} with less than {FLOOR:g} of the largest "
                "variance were left out: drift and noise along them are 0."
            )
        return notes

    def log_volume(self) -> float:
        r"""Nats to add to a negative log density of all coordinates to obtain that of the states.

        This is :math:`\tfrac12\log\det DD^\top`, where D maps latent and left-out coordinates to
        states.
        """
        return self._log_volume(torch.cat([self.decoder, self.left_decoder]))

    def log_volume_standard(self) -> float:
        """As `log_volume`, for states standardised on the training documents."""
        return self._log_volume(torch.cat([self.decoder, self.left_decoder]) / self.spread)

    def _log_volume(self, decoder: Float[Tensor, "all dim"]) -> float:
        wide = decoder.double()
        return 0.5 * float(torch.linalg.slogdet(wide @ wide.mT)[1])

    def view(self, paths: Paths) -> MappedPaths:
        """The paths in latent coordinates, encoded lazily block by block."""
        return MappedPaths(paths, self._encoded)

    def _encoded(self, block: Trajectories) -> Trajectories:
        require_finite(block)
        basis = self.to(block.states.device)
        states = basis.encode(block.times.expand(block.mask.shape), block.states)
        observed = states.where(block.mask[..., None], 0.0)
        return replace(block, states=observed, times=block.times.to(states.dtype))

    def to(self, device: torch.device | str) -> "Basis":
        """Copy the basis to a device."""
        moved = {name: t.to(device) for name, t in self.tensors().items()}
        return Basis(**moved, dropped=self.dropped)

    def tensors(self) -> dict[str, Tensor]:
        """All fitted tensors by name."""
        names = (
            *("times", "means", "encoder", "decoder"),
            *("spread", "explained", "left_encoder", "left_decoder"),
        )
        return {name: getattr(self, name) for name in names}


def fit_basis(spec: BasisSpec, train: Iterable[Trajectories]) -> Basis:
    """Fit a basis to training paths in one pass."""
    sums = StateSums.of(train)
    times, means, within = sums.moments(spec.center)
    spread = within.diagonal().clamp(min=0).sqrt()
    varies = spread > sums.rounding * means.abs().amax(0)
    if not varies.any():
        equal = "equal at each position" if spec.center == "position" else "equal"
        raise BadNumbers(
            f"states must vary, but all {int(sums.count.sum()):,} training states are "
            f"{equal if means.any() else 'zero'}, up to rounding: check the layer, its hooks and "
            "its weights, or the arrays"
        )
    axes = _directions(spec, within, varies)
    kind = torch.float32
    return Basis(
        times=times.to(kind),
        means=means,
        encoder=axes.encoder.to(kind),
        decoder=axes.decoder.to(kind),
        spread=spread.where(varies, FLOOR * spread.max()).to(kind),
        explained=torch.tensor(axes.explained, dtype=kind, device=within.device),
        left_encoder=axes.left_encoder.to(kind),
        left_decoder=axes.left_decoder.to(kind),
        dropped=axes.dropped,
    )


@dataclass
class _Axes:
    """Maps to and from latent and left-out coordinates."""

    encoder: Tensor
    decoder: Tensor
    left_encoder: Tensor
    left_decoder: Tensor
    explained: float = 1.0
    dropped: int = 0


def _directions(spec: BasisSpec, within: Tensor, varies: Tensor) -> _Axes:
    """Axes of a basis, from the covariance of the states."""
    dim = len(within)
    if (spec.rank or 0) > dim:
        raise UsageError(
            f"{spec.name} has more components than the {dim} coordinates of a state: use "
            f"{spec.kind}:{dim} or fewer"
        )
    identity = torch.eye(dim).to(within)
    none = (identity[:, :0], identity[:0])
    alive = identity[:, varies]
    std = within.diagonal()[varies].sqrt()
    if spec.kind in ("raw", "standard"):
        unit = torch.ones_like(std) if spec.kind == "raw" else std
        return _Axes(alive / unit, (alive * unit).mT, *none, dropped=dim - len(std))
    values, vectors = _principal(within[varies][:, varies] / std[:, None] / std)
    usable = int((values > FLOOR * values[0]).sum())
    kept = values[: spec.rank][:usable]
    root = kept.sqrt() if spec.kind == "whiten" else torch.ones_like(kept)
    into, back = alive @ (vectors / std[:, None]), (alive @ (vectors * std[:, None])).mT
    rest = slice(len(kept), usable)
    return _Axes(
        encoder=into[:, : len(kept)] / root,
        decoder=back[: len(kept)] * root[:, None],
        left_encoder=into[:, rest],
        left_decoder=back[rest],
        explained=float(kept.sum() / values.sum()),
        dropped=dim - usable,
    )


def _principal(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues in descending order, and eigenvectors whose first large entry is positive.

    An entry is large if its absolute value exceeds half the maximum, so that rounding does not
    decide between entries of equal size.
    """
    values, vectors = torch.linalg.eigh(correlation)
    values, vectors = values.flip(0), vectors.flip(1)
    size = vectors.abs()
    first = (size > size.max(0).values / 2).to(torch.uint8).argmax(0)
    return values, vectors * vectors.gather(0, first[None]).sign()
