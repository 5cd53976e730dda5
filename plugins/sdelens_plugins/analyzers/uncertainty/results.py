"""Sentences, estimates and arrays of the fit's uncertainty."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.evidence.interval import Interval
from sdelens.evidence.rank_correlation import Correlation
from sdelens.report import Estimate
from sdelens_plugins.analyzers.common.intervals import estimate, with_interval
from sdelens_plugins.analyzers.uncertainty.association import Association
from sdelens_plugins.analyzers.uncertainty.path_noise import PathNoise

UNIT = "standard deviations of a standardised coordinate, over one step"
TARGET_NAMES = {
    "entropy": "the model's next-token entropy",
    "surprisal": "the surprisal of the next token",
    "error": "the fit's own error",
}
PART_NAMES = {
    "aleatoric": "aleatoric magnitude",
    "epistemic": "epistemic magnitude",
    "error": "error of the predicted mean",
}
NO_MODEL = (
    "There is no language model here, so entropy and surprisal of the next token are left out."
)
NO_ENSEMBLE = "The fit has no ensemble, so the epistemic part is left out (fit with --ensemble 5)."
CONSTANT = "The noise of the fit is the same at every state, so there is nothing to correlate."
READING = (
    "The diffusion magnitude is the root mean square, over coordinates, of the noise that the fit "
    "gives the step out of a state (aleatoric). The fit does not see the next token, so its noise "
    "includes the random choice of the token as well as what the mean of the fit misses. The "
    "epistemic part is the spread of the drift between ensemble members, fitted to resampled "
    "documents: it shrinks with more data, the aleatoric part does not. Rank correlations pool "
    "the tokens of test documents; their intervals resample whole documents. The null permutes "
    "states within each document and keeps the document and position of each token; the remaining "
    "correlation is due to these. Both change along the text, hence the partial correlation given "
    "the position. A correlation with the model's entropy shows that states indicate where the "
    "next token is uncertain, not that the model uses the fitted noise, nor that the noise has "
    "the right size, which goodness_of_fit tests."
)


@dataclass(frozen=True, eq=False)
class UncertaintyResults:
    """Association over documents, and the noise along one path."""

    association: Association
    path: PathNoise
    components: Float[Tensor, "time component"] | None
    """The noise of the first steps along principal components; None if it is constant."""

    def headline(self) -> str:
        """The rank correlation of the noise with the model's entropy, or with the fit's error."""
        association = self.association
        if association.noise_magnitudes.constant:
            size = float(association.noise_magnitudes.aleatoric[0])
            return (
                f"The noise of the fit is the same at every state ({size:.3g} standard deviations "
                "per step), so there is nothing to correlate."
            )
        target = "entropy" if "entropy" in association.targets else "error"
        return (
            "The noise of the fit has a rank correlation of "
            f"{_with_interval(association.correlations['aleatoric', target])} with "
            f"{TARGET_NAMES[target]} (at most {float(association.null[target].max()):.2f} with "
            "states permuted within documents)."
        )

    def reading(self) -> str:
        """What is left out, and how to read the rest."""
        association = self.association
        notes = {
            CONSTANT: association.noise_magnitudes.constant,
            NO_MODEL: "entropy" not in association.targets,
            NO_ENSEMBLE: not bool(association.noise_magnitudes.epistemic.isfinite().all()),
        }
        return " ".join([*(note for note, applies in notes.items() if applies), READING])

    def estimates(self) -> tuple[Estimate, ...]:
        """Root mean squares, correlations, the null, and means along the path."""
        association = self.association
        rows = _sizes(association)
        rows += [
            _estimate(f"rank correlation of {part} magnitude with {TARGET_NAMES[target]}", rho)
            for (part, target), rho in association.correlations.items()
        ]
        rows += [
            _estimate(
                f"partial rank correlation of aleatoric magnitude with {TARGET_NAMES[target]}, "
                "given the position",
                rho,
            )
            for target, rho in association.partial.items()
        ]
        for target, null in association.null.items():
            low, high = float(null.min()), float(null.max())
            unit = f"mean of {len(null)} permutations, range [{low:.3f}, {high:.3f}]"
            name = f"null: permuted states, {TARGET_NAMES[target]}"
            rows.append(Estimate(name, float(null.mean()), None, unit))
        # without errors: the points of one path depend on each other
        rows += [
            Estimate(
                f"{name} magnitude, mean along {self.path.path.name}",
                float(size.mean()),
                None,
                UNIT,
            )
            for name, size in self.path.parts.items()
        ]
        return tuple(rows)

    def arrays(self) -> dict[str, Tensor]:
        """The path, its components, and everything by test transition."""
        path, association = self.path, self.association
        named = {"path.position": path.path.times, "path.token": path.path.tokens}
        named |= {f"path.{name}": size for name, size in path.parts.items()}
        if path.entropy is not None:
            named["path.entropy"] = path.entropy
        if self.components is not None:
            named["components.noise"] = self.components
            named["components.position"] = path.path.times[: len(self.components)]
        sizes = association.noise_magnitudes
        named |= {f"test.{name}": getattr(sizes, name) for name in vars(sizes)}
        named |= {f"test.{name}": target for name, target in association.targets.items()}
        return named | {f"null.{name}": null for name, null in association.null.items()}


def _sizes(association: Association) -> list[Estimate]:
    """Root mean squares of both parts and of the error, over documents."""
    names, ratio = association.mean_squares
    root = ratio.value.sqrt()
    # by the delta method
    errors: list[float | None] = (ratio.stderr / (2 * root)).tolist()
    if association.noise_magnitudes.constant:
        errors[names.index("aleatoric")] = None  # only rounding
    return [
        Estimate(
            f"{PART_NAMES[name]}, root mean square over test documents",
            float(value),
            error,
            "standard deviations per step",
        )
        for name, value, error in zip(names, root, errors, strict=True)
    ]


def _with_interval(rho: Correlation) -> str:
    return with_interval(interval_of(rho), 2)


def _estimate(name: str, rho: Correlation) -> Estimate:
    return estimate(name, interval_of(rho), "")


def interval_of(rho: Correlation) -> Interval:
    """A correlation with its error and its 95% interval."""
    numbers = (rho.value, rho.stderr, *rho.interval())
    return Interval(*torch.tensor(numbers, dtype=torch.float64))
