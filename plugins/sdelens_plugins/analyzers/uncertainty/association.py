"""Whether the fit's noise is large where the model's next token, or the fit's error, is."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.evidence.bootstrap import Bootstrap, by_unit
from sdelens.evidence.nulls import permuted_states
from sdelens.evidence.rank_correlation import Correlation, rank_correlation, weighted_spearman
from sdelens.fitting.study import Study
from sdelens.language.next_token import predict_next_tokens
from sdelens.language.noise_magnitude import NoiseMagnitudes, noise_magnitudes
from sdelens.report import Estimate, Figure, Layer, Panel, counted
from sdelens.seeds import derive
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.intervals import line_with_band

OF = {
    "entropy": "the model's next-token entropy",
    "surprisal": "the surprisal of the next token",
    "error": "the fit's own error",
}
NO_MODEL = (
    "There is no language model here, so that entropy and surprisal of the next token are left "
    "out."
)
NO_ENSEMBLE = (
    "The fit has no ensemble, so that the epistemic part is left out (fit with --ensemble 5)."
)
CONSTANT = "The noise of this fit is the same at every state: there is nothing to correlate."


@dataclass(frozen=True, eq=False)
class Association:
    """Rank correlations of noise and drift error with what may make a step hard to predict."""

    noise_magnitudes: NoiseMagnitudes
    unit: Int[Tensor, " row"]
    targets: dict[str, Float[Tensor, " row"]]
    found: dict[tuple[str, str], Correlation]
    """By part (aleatoric, epistemic) and target."""
    at_position: dict[str, Correlation]
    """Of the aleatoric part, the position held."""
    null: dict[str, Float[Tensor, " permutation"]]

    @classmethod
    def of(
        cls, study: Study, held: HeldOutDocuments, *, permutations: int, seed: int
    ) -> "Association":
        _, viewed = study.single
        fitted = viewed.fitted
        sizes = NoiseMagnitudes.of(fitted, fitted.encoded(held.paths))
        targets = {"error": sizes.error} if study.model is None else _expected(study, held, sizes)
        unit = held.unit[sizes.document]
        parts = {} if sizes.constant else {"aleatoric": sizes.aleatoric}
        if sizes.epistemic.isfinite().all():
            parts["epistemic"] = sizes.epistemic
        found = {
            (part, name): rank_correlation(size, target, unit, seed=derive(seed, part, name))
            for part, size in parts.items()
            for name, target in targets.items()
        }
        fixed, null = {}, {}
        if not sizes.constant:
            fixed = {
                name: rank_correlation(
                    sizes.aleatoric, y, unit, held=sizes.position, seed=derive(seed, "held", name)
                )
                for name, y in targets.items()
            }
            drawn = [
                noise_magnitudes(
                    fitted, fitted.encoded(permuted_states(held.paths, derive(seed, k)))
                )
                for k in range(permutations)
            ]
            null = {name: _rank(drawn, y) for name, y in targets.items()}
        return cls(sizes, unit, targets, found, fixed, null)

    @property
    def _lead(self) -> str:
        """What the paper's claim is about, or what is left of it."""
        return "entropy" if "entropy" in self.targets else "error"

    @property
    def documents(self) -> int:
        """How many the correlations come from."""
        return len(torch.unique(self.unit))

    def headline(self) -> str:
        lead = self._lead
        if self.noise_magnitudes.constant:
            size = float(self.noise_magnitudes.aleatoric[0])
            return f"{CONSTANT} It is {size:.3g} standard deviations per step."
        rho, null = self.found["aleatoric", lead], self.null[lead]
        low, high = float(null.min()), float(null.max())
        return (
            f"On {counted(self.documents, 'test document')} the diffusion magnitude has the rank "
            f"correlation {_bracketed(rho)} with {OF[lead]}; with states permuted within "
            f"documents it lies between {low:.2f} and {high:.2f}."
        )

    def notes(self) -> list[str]:
        """What is left out, and why."""
        constant = self.noise_magnitudes.constant
        ensemble = bool(self.noise_magnitudes.epistemic.isfinite().all())
        said = {
            CONSTANT: constant,
            NO_MODEL: "entropy" not in self.targets,
            NO_ENSEMBLE: not ensemble,
        }
        return [sentence for sentence, holds in said.items() if holds]

    def estimates(self) -> tuple[Estimate, ...]:
        rows = [
            _estimate(f"rank correlation of {part} magnitude with {OF[name]}", rho)
            for (part, name), rho in self.found.items()
        ]
        rows += [
            _estimate(f"the same of aleatoric magnitude with {OF[name]}, position held", rho)
            for name, rho in self.at_position.items()
        ]
        for name, null in self.null.items():
            low, high = float(null.min()), float(null.max())
            about = f"mean of {len(null)} permutations, range [{low:.3f}, {high:.3f}]"
            rows.append(
                Estimate(f"null: permuted states, {OF[name]}", float(null.mean()), None, about)
            )
        return (*self._sizes(), *rows)

    def _sizes(self) -> list[Estimate]:
        """Means over documents of the two parts and of the error."""
        units = int(self.unit.max()) + 1
        sizes = self.noise_magnitudes
        parts = {"aleatoric": sizes.aleatoric, "epistemic": sizes.epistemic, "error": sizes.error}
        known = {name: part for name, part in parts.items() if part.isfinite().all()}
        squares = torch.stack([part.square() for part in known.values()])
        count = by_unit(torch.ones_like(sizes.error), self.unit, units)
        ratio = Bootstrap.of(count, seed=0, replicates=1000).ratio(
            by_unit(squares, self.unit, units), count
        )
        words = {
            "aleatoric": "aleatoric magnitude",
            "epistemic": "epistemic magnitude",
            "error": "error of the predicted mean",
        }
        root = ratio.value.sqrt()
        return [
            Estimate(
                f"{words[name]}, root mean square over test documents",
                float(root[k]),
                # by the delta method; what does not vary has no error but rounding
                None
                if name == "aleatoric" and sizes.constant
                else float(ratio.stderr[k] / (2 * root[k])),
                "standard deviations per step",
            )
            for k, name in enumerate(known)
        ]

    def arrays(self) -> dict[str, Tensor]:
        sizes = self.noise_magnitudes
        named = {f"test.{name}": getattr(sizes, name) for name in vars(sizes)}
        named |= {f"test.{name}": target for name, target in self.targets.items()}
        return named | {f"null.{name}": null for name, null in self.null.items()}

    def figures(self) -> tuple[Figure, ...]:
        return () if self.noise_magnitudes.constant else (correlations(self), *by_magnitude(self))


def _expected(study: Study, held: HeldOutDocuments, sizes: NoiseMagnitudes) -> dict[str, Tensor]:
    """What the model expects at the state that each step starts from, and the fit's error."""
    if study.model is None or held.documents is None:
        raise ValueError("a model is needed")
    known = predict_next_tokens(study.model, held.documents)
    entropy, surprisal = known.at(held.row(sizes.document), sizes.position.long())
    return {"entropy": entropy, "surprisal": surprisal, "error": sizes.error}


def _rank(sizes: list[Tensor], target: Tensor) -> Float[Tensor, " permutation"]:
    one = torch.ones(1, len(target), dtype=torch.float64)
    return torch.cat([weighted_spearman([size, target], one) for size in sizes])


def _bracketed(rho: Correlation) -> str:
    low, high = rho.interval()
    return f"{rho.value:.2f}" if low != low else f"{rho.value:.2f} [{low:.2f}, {high:.2f}]"


def _estimate(name: str, rho: Correlation) -> Estimate:
    low, high = rho.interval()
    if low != low:
        return Estimate(name, rho.value)
    return Estimate(name, rho.value, rho.stderr, f"95% [{low:.3f}, {high:.3f}]")


BINS = 8


def correlations(of: "Association") -> Figure:
    """Of the diffusion magnitude with each quantity, beside the range of the null."""
    names = list(of.targets)
    x = torch.arange(len(names)).double()
    rho = [of.found["aleatoric", name] for name in names]
    ends = torch.tensor([each.interval() for each in rho], dtype=torch.float64)
    bars = {"x": x, "y": _values(rho), "low": ends[:, 0], "high": ends[:, 1]}
    null = torch.stack([torch.stack(list(of.null[name].aminmax())) for name in names])
    layers = (
        Layer("bars", bars, "as observed", words=tuple(names)),
        Layer("scatter", {"x": x + 0.25, "y": null[:, 0]}, "null, least and most", series=1),
        Layer("scatter", {"x": x + 0.25, "y": null[:, 1]}, series=1),
    )
    permutations = len(next(iter(of.null.values())))
    return Figure(
        "correlations",
        (Panel("", "rank correlation", layers),),
        "Spearman's correlation of the diffusion magnitude with each quantity, with 95% "
        f"intervals over {counted(of.documents, 'test document')}, and the range of "
        f"{permutations} permutations of the states within documents.",
    )


def by_magnitude(of: "Association") -> tuple[Figure, ...]:
    """Means of entropy and surprisal by bin of magnitude."""
    names = [name for name in ("entropy", "surprisal") if name in of.targets]
    if not names or len(of.unit) < 2 * BINS:
        return ()
    size, units = of.noise_magnitudes.aleatoric, int(of.unit.max()) + 1
    edges = size.quantile(torch.linspace(0, 1, BINS + 1, dtype=size.dtype))
    bin_ = torch.bucketize(size, edges[1:-1].contiguous())
    cell = of.unit * BINS + bin_
    count, total = (
        rearrange(by_unit(values, cell, units * BINS), "(unit bin) -> bin unit", bin=BINS)
        for values in (torch.ones_like(size), size)
    )
    bootstrap = Bootstrap.of(count.sum(0), seed=0, replicates=1000)
    layers: list[Layer] = []
    for series, name in enumerate(names):
        sums = by_unit(of.targets[name], cell, units * BINS)
        sums = rearrange(sums, "(unit bin) -> bin unit", bin=BINS)
        layers += line_with_band(
            total.sum(1) / count.sum(1), bootstrap.ratio(sums, count), name, series
        )
    return (
        Figure(
            "bins",
            (Panel("noise of one step (standard deviations)", "nats", tuple(layers)),),
            f"Mean entropy and surprisal of the next token in {BINS} equal bins of the "
            "diffusion magnitude, with 95% intervals over test documents.",
        ),
    )


def _values(found: list[Correlation]) -> Float[Tensor, " series"]:
    return torch.tensor([each.value for each in found], dtype=torch.float64)
