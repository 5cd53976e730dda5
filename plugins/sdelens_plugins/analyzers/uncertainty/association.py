"""Rank correlations of the fit's noise with the model's uncertainty and the fit's error."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import by_unit
from sdelens.evidence.interval import Interval
from sdelens.evidence.rank_correlation import Correlation, rank_correlation, weighted_spearman
from sdelens.fitting.study import Study
from sdelens.language.next_token import predict_next_tokens
from sdelens.language.noise_magnitude import NoiseMagnitudes, noise_magnitudes
from sdelens.language.nulls import permuted_states
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments


@dataclass(frozen=True, eq=False)
class Association:
    """Rank correlations of noise and drift uncertainty with what makes a step hard to predict."""

    noise_magnitudes: NoiseMagnitudes
    unit: Int[Tensor, " row"]
    """The resampling unit of each transition."""
    targets: dict[str, Float[Tensor, " row"]]
    """The fit's error, and with a model the entropy and surprisal of the next token."""
    correlations: dict[tuple[str, str], Correlation]
    """By part (aleatoric, epistemic) and target."""
    partial: dict[str, Correlation]
    """Of the aleatoric part, given the position, by target."""
    null: dict[str, Float[Tensor, " permutation"]]
    """Correlations of the aleatoric part with states permuted within documents, by target."""

    @classmethod
    def of(
        cls, study: Study, held_out: HeldOutDocuments, *, permutations: int, seed: int
    ) -> "Association":
        """Over all transitions of held-out documents."""
        _, viewed = study.single
        fitted = viewed.fitted
        sizes = NoiseMagnitudes.of(fitted, fitted.encoded(held_out.paths))
        targets = {} if study.model is None else _next_token(study, held_out, sizes)
        targets["error"] = sizes.error
        unit = held_out.unit[sizes.document]
        parts = {} if sizes.constant else {"aleatoric": sizes.aleatoric}
        if sizes.epistemic.isfinite().all():
            parts["epistemic"] = sizes.epistemic
        correlations = {
            (part, name): rank_correlation(size, target, unit, seed=derive(seed, part, name))
            for part, size in parts.items()
            for name, target in targets.items()
        }
        partial, null = {}, {}
        if not sizes.constant:
            partial = {
                name: rank_correlation(
                    sizes.aleatoric,
                    target,
                    unit,
                    held=sizes.position,
                    seed=derive(seed, "held", name),
                )
                for name, target in targets.items()
            }
            seeds = (derive(seed, k) for k in range(permutations))
            permuted = (permuted_states(held_out.paths, each) for each in seeds)
            null_sizes = [noise_magnitudes(fitted, fitted.encoded(paths)) for paths in permuted]
            null = {name: _spearman(null_sizes, target) for name, target in targets.items()}
        return cls(sizes, unit, targets, correlations, partial, null)

    @property
    def documents(self) -> int:
        """The number of independent documents."""
        return len(torch.unique(self.unit))

    @property
    def _units(self) -> int:
        return int(self.unit.max()) + 1

    @property
    def mean_squares(self) -> tuple[list[str], Interval]:
        """Mean squares of both parts and of the error over documents, as far as they are known."""
        sizes = self.noise_magnitudes
        parts = {"aleatoric": sizes.aleatoric, "epistemic": sizes.epistemic, "error": sizes.error}
        known = {name: part for name, part in parts.items() if part.isfinite().all()}
        squares = torch.stack([part.square() for part in known.values()])
        count = by_unit(torch.ones_like(sizes.error), self.unit, self._units)
        return list(known), Interval.ratio(by_unit(squares, self.unit, self._units), count)

    def binned(
        self, names: Sequence[str], bins: int
    ) -> tuple[Float[Tensor, " bin"], dict[str, Interval]]:
        """The mean noise of equal bins of the noise, and the mean of each target there."""
        size = self.noise_magnitudes.aleatoric
        edges = size.quantile(torch.linspace(0, 1, bins + 1, dtype=size.dtype))
        index = torch.bucketize(size, edges[1:-1].contiguous())

        def sums(values: Tensor) -> Tensor:
            cells = by_unit(values, self.unit * bins + index, self._units * bins)
            return rearrange(cells, "(unit bin) -> bin unit", bin=bins)

        count = sums(torch.ones_like(size))
        means = {name: Interval.ratio(sums(self.targets[name]), count) for name in names}
        return sums(size).sum(1) / count.sum(1), means


def _next_token(
    study: Study, held_out: HeldOutDocuments, sizes: NoiseMagnitudes
) -> dict[str, Tensor]:
    """Entropy and surprisal of the next token at the state that each step starts from."""
    if study.model is None or held_out.documents is None:
        raise ValueError("a model is needed")
    next_token = predict_next_tokens(study.model, held_out.documents)
    entropy, surprisal = next_token.at(held_out.row(sizes.document), sizes.position.long())
    return {"entropy": entropy, "surprisal": surprisal}


def _spearman(sizes: list[Tensor], target: Tensor) -> Float[Tensor, " permutation"]:
    """Spearman's correlation of each permuted noise with the target."""
    weights = torch.ones(1, len(target), dtype=torch.float64)
    return torch.cat([weighted_spearman([size, target], weights) for size in sizes])
