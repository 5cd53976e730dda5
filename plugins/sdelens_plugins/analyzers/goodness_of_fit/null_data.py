"""The same fit to data in which there should be little to find."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.evidence.nulls import Sides, captured, permuted_tokens
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.law import prefixed
from sdelens.paths.basis import Basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.paths.split import first_new
from sdelens.paths.trajectories import Paths, began
from sdelens.report import Estimate, Figure, Panel
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.intervals import bars, estimate, with_interval
from sdelens_plugins.analyzers.common.units import NATS


@dataclass(frozen=True, eq=False)
class NullData:
    """The gain of a linear fit over i.i.d. states per position, by data set."""

    gains: dict[str, Interval]

    @classmethod
    def of(
        cls, study: Study, groups: Int[Tensor, " document"], *, documents: int, seed: int
    ) -> "NullData":
        """Of at most `documents` training documents, and of a third as many of the others."""
        view, viewed = study.single
        real, numbers = _fewer(viewed, documents)
        spec = spec_of(viewed.fitted.basis)
        gains = {
            "these data": real.linear_gain(spec, groups, seed=seed),
            "states permuted in time": real.permuted(derive(seed, "states")).linear_gain(
                spec, groups, seed=seed
            ),
        }
        origin = viewed.fitted.origin
        if study.model is None or origin is None:
            return cls(gains)
        chosen = [number for side in numbers for number in side]
        listed = list(study.documents)
        texts = Documents.of(listed[number] for number in chosen)
        shuffled = permuted_tokens(texts, derive(seed, "tokens"), keep=int(origin.bos_prepended))
        untrained = study.model.untrained(derive(seed, "untrained"))
        start = began(real.test)
        first = {row: start[d] for row, d in enumerate(chosen) if d in start}
        if view.axis == "layer":  # times are no positions
            rows, held = range(len(chosen)), len(numbers[-1])
            train = rows[: len(numbers[0])]
            first = first_new(texts.padded(), train, rows[len(rows) - held :])
        for name, model, read in (
            ("tokens permuted", study.model, shuffled),
            ("untrained model", untrained, texts),
        ):
            sides = captured(
                model,
                read,
                view,
                [len(side) for side in numbers],
                first,
                skip_first=origin.skip_first,
            )
            gains[name] = sides.linear_gain(spec, groups[chosen], seed=seed)
        return cls(gains)

    @property
    def note(self) -> str:
        """What could not be made."""
        if "untrained model" in self.gains:
            return ""
        return (
            "The untrained model and the permuted tokens are left out: they need the model of the "
            "run, which is not here."
        )

    def headline(self) -> str:
        first, *others = self.gains.items()
        rest = ", ".join(f"{name} {with_interval(gain)}" for name, gain in others)
        return (
            f"A linear fit gains {with_interval(first[1])} {NATS} over i.i.d. states per position "
            f"here; {rest}."
        )

    def estimates(self) -> tuple[Estimate, ...]:
        return tuple(
            estimate(f"linear over i.i.d. per position, {name}", gain, NATS)
            for name, gain in self.gains.items()
        )

    @property
    def _stacked(self) -> Interval:
        return Interval.stack(self.gains.values())

    def arrays(self) -> dict[str, Tensor]:
        return prefixed(null=self._stacked.tensors())

    def figures(self) -> tuple[Figure, ...]:
        panel = Panel("", f"gain, {NATS}", (bars(self._stacked, list(self.gains)),))
        return (
            Figure(
                "nulls",
                (panel,),
                "Gain of a linear fit over i.i.d. states per position, both fitted anew to each "
                "data set, with 95% intervals over its test documents.",
            ),
        )


def spec_of(basis: Basis) -> BasisSpec:
    """Standardised coordinates, or as many principal components as the fit keeps."""
    whole = basis.latent + basis.dropped == len(basis.spread)
    center = "position" if len(basis.means) > 1 else "all"
    return BasisSpec("standard" if whole else f"pca:{basis.latent}", center)


def _fewer(viewed: Viewed, documents: int) -> tuple[Sides, list[list[int]]]:
    """The first documents of each side, and which they are."""
    most = (documents, documents // 3, documents // 3)
    paths = (viewed.train, viewed.validation, viewed.test)
    numbers = [_numbers(side)[:n] for side, n in zip(paths, most, strict=True)]
    chosen = (side.select(found) for side, found in zip(paths, numbers, strict=True))
    return Sides(*chosen), numbers


def _numbers(paths: Paths) -> list[int]:
    """Documents that have a transition."""
    found = [d for block in paths for d in block.document[block.steps.any(1)].tolist()]
    return list(dict.fromkeys(found))  # along the depth a document has many paths
