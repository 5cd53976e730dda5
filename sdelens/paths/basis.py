r"""Affine coordinates in which a law is fitted: :math:`z = (x - m_t)E`, :math:`x = zD + m_t`.

Fitted on training documents only. Names: ``raw`` (the states themselves), ``standard`` (each
coordinate to unit variance), ``pca:K`` (the K leading principal components of the standardised
states) and ``whiten:K`` (the same, each to unit variance). Constant coordinates and principal
directions whose variance is below 1e-6 of the largest are dropped, and counted; not by ``raw``.
``center="position"`` subtracts the mean state of each position instead of one mean: learned
positions carry up to a third of a state's variance.
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
"""Principal directions with a smaller share of the largest variance are dropped, and coordinates
whose deviation is a smaller share of the largest, or of their own size: that is rounding."""


@dataclass(frozen=True, eq=False)
class Basis:
    """An affine map to latent coordinates, and what it leaves out."""

    times: Float[Tensor, " time"]
    means: Float[Tensor, "time dim"]
    encoder: Float[Tensor, "dim latent"]
    decoder: Float[Tensor, "latent dim"]
    spread: Float[Tensor, " dim"]
    """Standard deviation of each coordinate about the mean, on training states."""
    explained: Float[Tensor, ""]
    """The share of the standardised variance that is kept."""
    left_encoder: Float[Tensor, "dim left"]
    """To standardised coordinates along the principal directions that were not asked for."""
    left_decoder: Float[Tensor, "left dim"]
    dropped: int
    """How many directions were left out for want of variance."""

    @property
    def latent(self) -> int:
        """The number of latent coordinates."""
        return self.encoder.shape[1]

    @property
    def left(self) -> int:
        """The number of coordinates that were not asked for."""
        return self.left_encoder.shape[1]

    def mean_at(self, t: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch dim"]:
        """The mean state at a time."""
        return self.means[nearest(self.times, t)]

    def encode(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch latent"]:
        """From states, of any float type, to latent coordinates."""
        return (x - self.mean_at(t)).to(self.encoder.dtype) @ self.encoder

    def encode_left(
        self, t: Float[Tensor, "*#batch"], x: Float[Tensor, "*batch dim"]
    ) -> Float[Tensor, "*batch left"]:
        """The coordinates that `encode` leaves out, standardised."""
        return (x - self.mean_at(t)).to(self.encoder.dtype) @ self.left_encoder

    def decode(
        self, t: Float[Tensor, "*#batch"], z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch dim"]:
        """From latent coordinates to states: within the kept directions, the inverse."""
        return z @ self.decoder + self.mean_at(t)

    def log_volume(self) -> float:
        r"""Nats to add to a negative log density of all coordinates for that of states.

        :math:`\tfrac12\log\det DD^\top`, D the map from kept and left-out coordinates to states.
        """
        return self._log_volume(torch.cat([self.decoder, self.left_decoder]))

    def log_volume_standard(self) -> float:
        """The same for training-standardised coordinates."""
        return self._log_volume(torch.cat([self.decoder, self.left_decoder]) / self.spread)

    def _log_volume(self, decoder: Float[Tensor, "all dim"]) -> float:
        wide = decoder.double()
        return 0.5 * float(torch.linalg.slogdet(wide @ wide.mT)[1])

    def view(self, paths: Paths) -> MappedPaths:
        """The paths in latent coordinates, encoded as they are read."""
        return MappedPaths(paths, self._encoded)

    def _encoded(self, block: Trajectories) -> Trajectories:
        require_finite(block)
        basis = self.to(block.states.device)
        states = basis.encode(block.times.expand(block.mask.shape), block.states)
        observed = states.where(block.mask[..., None], 0.0)
        return replace(block, states=observed, times=block.times.to(states.dtype))

    def to(self, device: torch.device | str) -> "Basis":
        """The same basis on another device."""
        moved = {name: t.to(device) for name, t in self.tensors().items()}
        return Basis(**moved, dropped=self.dropped)

    def tensors(self) -> dict[str, Tensor]:
        """Everything fitted, by name."""
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
    """The basis of that name, fitted on training paths in one pass."""
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
            "states must vary: those of training are all the same, or the same at each position; "
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
    """Sums over all observed states, by time; times are found on the way."""
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
        # rows are added to the sums so far; `Moments` adds the sums of each block, and rounding
        # differs, which is why the two do not share this
        index = torch.searchsorted(known, t)
        grown.count.index_add_(0, index, torch.ones_like(t, dtype=torch.float64))
        grown.first.index_add_(0, index, x)
        times, sums = known, grown
    if sums is None:
        raise ValueError("at least one block of paths is needed")
    return times, sums


@dataclass
class _Axes:
    """Maps to and from latent coordinates, and what they leave out."""

    encoder: Tensor
    decoder: Tensor
    left_encoder: Tensor
    left_decoder: Tensor
    explained: float = 1.0
    dropped: int = 0


def _directions(spec: BasisSpec, within: Tensor, varies: Tensor) -> _Axes:
    """The axes of a basis, from the states' covariance about their mean."""
    dim = len(within)
    if (spec.rank or 0) > dim:
        raise UsageError(
            f"{spec.name} asks for more components than the {dim} coordinates of a state: give "
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
    """Eigenvalues, largest first, and eigenvectors whose first large entry is positive.

    Large is half of the largest or more, so that rounding does not decide between equal entries.
    """
    values, vectors = torch.linalg.eigh(correlation)
    values, vectors = values.flip(0), vectors.flip(1)
    size = vectors.abs()
    first = (size > size.max(0).values / 2).to(torch.uint8).argmax(0)
    return values, vectors * vectors.gather(0, first[None]).sign()
