r"""Affine coordinates for the fit of a law: :math:`z = (x - m_t)E`, :math:`x = zD + m_t`.

A basis is fitted on training documents only. ``raw`` keeps the coordinates of the states;
``standard`` scales each coordinate to unit variance; ``pca:K`` takes the K leading principal
components of the standardised states, and ``whiten:K`` also scales these to unit variance. All
except ``raw`` drop constant coordinates and principal directions whose variance is below 1e-6 of
the largest, and report how many. ``center="position"`` subtracts the mean state of each position
instead of the overall mean: learned positions carry up to a third of the variance of a state.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import BadNumbers, UsageError
from sdelens.paths.basis_spec import BasisSpec as BasisSpec
from sdelens.paths.moments import nearest
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories, require_finite

FLOOR = 1e-6
"""Relative threshold below which directions are dropped as rounding errors: the variance of a
principal direction relative to the largest variance, or the standard deviation of a coordinate
relative to the largest standard deviation or to its own root mean square."""


@dataclass(frozen=True, eq=False)
class Basis:
    """Affine map between states and latent coordinates, with the remaining coordinates."""

    times: Float[Tensor, " time"]
    means: Float[Tensor, "time dim"]
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
    """Number of directions dropped because their variance is too small."""

    @property
    def latent(self) -> int:
        """The number of latent coordinates."""
        return self.encoder.shape[1]

    @property
    def left(self) -> int:
        """The number of left-out coordinates."""
        return self.left_encoder.shape[1]

    def mean_at(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """The mean state at time t."""
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
        """Map latent coordinates to states; the inverse of `encode` on the kept directions."""
        return z @ self.decoder + self.mean_at(t)

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


@dataclass
class _Sums:
    """Counts and sums of states at each time, and their second moments over all times."""

    count: Tensor
    first: Tensor
    second: Tensor


def fit_basis(spec: BasisSpec, train: Iterable[Trajectories]) -> Basis:
    """Fit a basis to training paths in one pass."""
    times, sums = _accumulate(train)
    total = float(sums.count.sum())
    share = sums.count[:, None] / total
    means = sums.first / sums.count[:, None]
    if spec.center == "all":
        means, times, share = (share * means).sum(0, keepdim=True), times[:1], share.new_ones(1, 1)
    within = sums.second / total - (share * means).mT @ means
    spread = within.diagonal().clamp(min=0).sqrt()
    size = (sums.second.diagonal() / total).sqrt().clamp(min=float(spread.max()))
    varies = spread > FLOOR * size
    if not varies.any():
        raise BadNumbers(
            "states must vary, but all training states are equal, or equal at each position: "
            "check what was captured"
        )
    axes = _directions(spec, within, varies)
    kind = torch.float32
    return Basis(
        times=times.to(kind),
        means=means.to(kind),
        encoder=axes.encoder.to(kind),
        decoder=axes.decoder.to(kind),
        spread=spread.clamp(min=FLOOR * float(spread.max())).to(kind),
        explained=torch.tensor(axes.explained, dtype=kind, device=within.device),
        left_encoder=axes.left_encoder.to(kind),
        left_decoder=axes.left_decoder.to(kind),
        dropped=axes.dropped,
    )


def _accumulate(blocks: Iterable[Trajectories]) -> tuple[Tensor, _Sums]:
    """The times of all observed states, and the sums of the states by time."""
    times = torch.empty(0)
    sums: _Sums | None = None
    for block in blocks:
        require_finite(block)
        x = block.states[block.mask].double()
        t = block.times.expand(block.mask.shape)[block.mask]
        known = torch.unique(torch.cat([times.to(t), t]))
        grown = _Sums(x.new_zeros(len(known)), x.new_zeros(len(known), x.shape[1]), x.mT @ x)
        if sums is not None:
            rows = torch.searchsorted(known, times.to(t))
            grown.count[rows] = sums.count
            grown.first[rows] = sums.first
            grown.second += sums.second
        # `Moments` adds the sums of each block, whereas rows are added to the running sums here;
        # rounding differs, so the two do not share code
        index = torch.searchsorted(known, t)
        grown.count.index_add_(0, index, torch.ones_like(t, dtype=torch.float64))
        grown.first.index_add_(0, index, x)
        times, sums = known, grown
    if sums is None:
        raise ValueError("at least one block of paths is needed")
    return times, sums


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
    if spec.kind == "raw":
        return _Axes(identity, identity, *none)
    alive = identity[:, varies]
    std = within.diagonal()[varies].sqrt()
    if spec.kind == "standard":
        return _Axes(alive / std, (alive * std).mT, *none, dropped=dim - len(std))
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
