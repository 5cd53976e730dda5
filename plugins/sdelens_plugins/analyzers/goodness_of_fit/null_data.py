"""Null data: a linear fit to permuted states, permuted tokens and an untrained model."""

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.fitting.study import Study, Viewed
from sdelens.language.nulls import Sides, captured, permuted_tokens
from sdelens.paths.basis import Basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Paths
from sdelens.seeds import derive


@dataclass(frozen=True, eq=False)
class NullData:
    """The gain of a linear fit over i.i.d. states per position, by data set."""

    gains: dict[str, Interval]

    @classmethod
    def of(
        cls, study: Study, groups: Int[Tensor, " document"], *, documents: int, seed: int
    ) -> "NullData":
        """Fits to at most `documents` training documents and a third as many of the other sides.

        Without the language model, states are permuted in time but tokens are not.
        """
        view, viewed = study.single
        real, numbers = _first_documents(viewed, documents)
        spec = basis_spec(viewed.fitted.basis)
        gains = {
            "these data": real.linear_gain(spec, groups),
            "states permuted in time": real.permuted(derive(seed, "states")).linear_gain(
                spec, groups
            ),
        }
        origin = viewed.fitted.origin
        if study.model is None or origin is None:
            return cls(gains)
        kept = [number for side in numbers for number in side]
        documents_of_run = list(study.documents)
        texts = Documents.of(documents_of_run[number] for number in kept)
        shuffled = permuted_tokens(texts, derive(seed, "tokens"), keep=int(origin.bos_prepended))
        untrained = study.model.untrained(derive(seed, "untrained"))
        for name, model, tokens in (
            ("tokens permuted", study.model, shuffled),
            ("untrained model", untrained, texts),
        ):
            counts = [len(side) for side in numbers]
            sides = captured(model, tokens, view, counts, skip_first=origin.skip_first)
            gains[name] = sides.linear_gain(spec, groups[kept])
        return cls(gains)

    @property
    def stacked(self) -> Interval:
        """The gains of all data sets."""
        return Interval.stack(self.gains.values())


def basis_spec(basis: Basis) -> BasisSpec:
    """Standardised coordinates, or as many principal components as the fit keeps."""
    whole = basis.latent + basis.dropped == len(basis.spread)
    center = "position" if len(basis.means) > 1 else "all"
    return BasisSpec("standard" if whole else f"pca:{basis.latent}", center)


def _first_documents(viewed: Viewed, documents: int) -> tuple[Sides, list[list[int]]]:
    """The first documents of each side, and their numbers."""
    most = (documents, documents // 3, documents // 3)
    paths = (viewed.train, viewed.validation, viewed.test)
    numbers = [_numbers(side)[:n] for side, n in zip(paths, most, strict=True)]
    sides = (side.select(kept) for side, kept in zip(paths, numbers, strict=True))
    return Sides(*sides), numbers


def _numbers(paths: Paths) -> list[int]:
    """The documents that have a transition."""
    numbers = [d for block in paths for d in block.document[block.steps.any(1)].tolist()]
    return list(dict.fromkeys(numbers))  # along the depth a document has many paths
