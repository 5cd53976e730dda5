"""Paths through the depth: rotation and stretch of states by each block, and noise by depth."""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from sdelens.dynamics.depth import DepthMaps, DepthMoments, jackknifed
from sdelens.dynamics.depth_noise import DepthSquares, NoiseLaws, depths
from sdelens.errors import UsageError
from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Viewed
from sdelens.seeds import derive


@dataclass(frozen=True, eq=False)
class LinesOfThought:
    """Linear maps and noise by depth."""

    maps: DepthMaps
    null: DepthMaps
    stretch: Interval
    rotation: Interval
    variance: Interval
    r2: Interval
    fit_r2: Interval
    """The increment R² of the run's own fit."""
    laws: NoiseLaws
    later: NoiseLaws | None
    """The laws without the step out of the embedding; None with fewer than four steps."""
    documents: tuple[int, int]
    """The numbers of training and of held-out documents."""

    @classmethod
    def of(
        cls, viewed: Viewed, groups: Int[Tensor, " document"], *, ridge: float, seed: int
    ) -> "LinesOfThought":
        """Fitted in two passes over training paths and one over held-out paths.

        Raises `UsageError` for models of fewer than three blocks.
        """
        fitted = viewed.fitted
        moments = DepthMoments.of(fitted.basis, viewed.train, groups, seed=seed)
        total = moments.total()
        maps = DepthMaps.of(total, ridge=ridge)
        if len(maps.matrix) < 3:
            raise UsageError(
                "noise by depth needs three blocks or more, but this model has "
                f"{len(maps.matrix)}: compare its layers in a run with --layer embed,all"
            )
        value, stderr = (part.unbind(1) for part in jackknifed(moments, ridge=ridge))
        train, test = (
            DepthSquares.of(maps, fitted.basis, fitted.law, paths, groups)
            for paths in (viewed.train, viewed.test)
        )
        documents = (int((train.count > 0).sum()), int((test.count > 0).sum()))
        has_later = len(maps.matrix) > 3
        laws_seed = derive(seed, "laws")
        return cls(
            maps=maps,
            null=DepthMaps.of(total, ridge=ridge, swapped=True),
            stretch=Interval.student(value[0], stderr[0], moments.parts).over(documents[0]),
            rotation=Interval.student(value[1], stderr[1], moments.parts).over(documents[0]),
            variance=test.variance(),
            r2=test.r2(),
            fit_r2=test.r2(of="fitted"),
            laws=NoiseLaws.of(train, test, seed=laws_seed),
            later=NoiseLaws.of(train, test, first=2, seed=laws_seed) if has_later else None,
            documents=documents,
        )

    @property
    def x(self) -> Float[Tensor, " step"]:
        """The depth at which each step arrives."""
        return depths(len(self.maps.matrix))

    @property
    def noise_share(self) -> Float[Tensor, " step"]:
        """The noise variance of each step over the variance of the states where it arrives."""
        states = self.maps.spread[1:].diagonal(dim1=-2, dim2=-1).mean(-1)
        return self.variance.value / states
