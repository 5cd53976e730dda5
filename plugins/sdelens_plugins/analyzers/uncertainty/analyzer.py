"""How sure the fit is, token by token (the paper's Figures 4 and 5), and whether the model is."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.language.noise_magnitude import drift_uncertainty, noise_along, noise_magnitude
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Paths
from sdelens.report import Estimate, Figure, Finding, Layer, Panel, Strip
from sdelens_plugins.analyzers.common.held_out_documents import HeldOutDocuments
from sdelens_plugins.analyzers.common.observed_path import ObservedPath, observed_path, words_of
from sdelens_plugins.analyzers.uncertainty.association import Association

UNIT = "standard deviations of a standardised coordinate, over one step"
MEANS = {
    "aleatoric": "the noise that the fit gives the step after each token",
    "epistemic": "how far ensemble members differ in the drift after each token",
}
READING = (
    "The diffusion magnitude is the root mean square, over coordinates, of the noise that the fit "
    "gives the step out of a state (aleatoric). The fit does not see the token that comes next, "
    "so that its noise holds the sampler's choice of it as well as whatever the mean of the fit "
    "misses. The epistemic part is how far the drift differs between ensemble members, fitted to "
    "resampled documents: it shrinks with more data, the aleatoric part does not. Rank "
    "correlations pool the tokens of test documents; their intervals resample whole documents. "
    "The null permutes states within each document: it keeps which document and which position a "
    "token is in, and what is left of the correlation is owed to these. Both change along the "
    "text, hence the partial correlation that holds the position. A correlation with the "
    "model's entropy shows that states tell where the next token is open, not that the model "
    "uses the fitted noise, nor that the noise has the right size: goodness_of_fit says that."
)


@dataclass(frozen=True)
class UncertaintyAnalyzer:
    """The noise of the fit at each token, its parts, and its rank correlation with entropy.

    `tokens` of the prompt, or else of a test document, are coloured; figures show the first
    `shown` of them and `components` principal components. Correlations are over the first
    `documents` test documents, with `permutations` of their states as the null.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"sde"})
    wants: ClassVar[frozenset[str]] = frozenset({"model"})
    scope: ClassVar[str] = "view"
    tokens: int = 200
    shown: int = 24
    components: int = 16
    documents: int = 64
    permutations: int = 39

    def __post_init__(self) -> None:
        least = {"tokens": 2, "shown": 2, "components": 1, "documents": 1, "permutations": 1}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise UsageError(f"{name} must be at least {number}, got {getattr(self, name)}")

    @torch.no_grad()
    def analyze(self, study: Study, *, seed: int) -> Finding:
        view, viewed = study.single
        path = observed_path(study, tokens=self.tokens)
        held = HeldOutDocuments.of(study, documents=self.documents)
        found = Association.of(study, held, permutations=self.permutations, seed=seed)
        constant = found.noise_magnitudes.constant
        words = words_of(study, path.tokens)
        along_path = UncertaintyAlongPath.of(viewed.fitted, path, words, constant=constant)
        heat = self._heat(viewed.fitted, viewed.train, along_path, found)
        return Finding(
            view=str(view),
            headline=found.headline(),
            reading=" ".join([*found.notes(), READING]),
            estimates=(*found.estimates(), *along_path.estimates()),
            arrays=along_path.arrays() | heat.arrays | found.arrays(),
            figures=(*along_path.first(self.shown).figures(), *heat.figures, *found.figures()),
            strips=along_path.strips(),
            prompt=study.prompt,
        )

    def _heat(
        self, fitted: Fitted, train: Paths, path: "UncertaintyAlongPath", found: Association
    ) -> "Heat":
        if found.noise_magnitudes.constant:
            return Heat({}, ())
        return Heat.of(fitted, train, path.first(self.shown), self.components)


@dataclass(frozen=True, eq=False)
class UncertaintyAlongPath:
    """The noise at each state of one path."""

    path: ObservedPath
    words: tuple[str, ...]
    aleatoric: Float[Tensor, " time"]
    epistemic: Float[Tensor, " time"]
    constant: bool
    """Whether the aleatoric part is the same everywhere, so that there is nothing to draw."""

    @classmethod
    def of(
        cls, fitted: Fitted, path: ObservedPath, words: tuple[str, ...], *, constant: bool
    ) -> "UncertaintyAlongPath":
        z = fitted.basis.encode(path.times, path.states)
        aleatoric, epistemic = (
            f(fitted, path.times.to(z), z) for f in (noise_magnitude, drift_uncertainty)
        )
        return cls(path, words, aleatoric.cpu(), epistemic.cpu(), constant)

    def first(self, count: int) -> "UncertaintyAlongPath":
        """Its first states."""
        return UncertaintyAlongPath(
            self.path.first(count),
            self.words[:count],
            self.aleatoric[:count],
            self.epistemic[:count],
            self.constant,
        )

    @property
    def _parts(self) -> dict[str, Float[Tensor, " time"]]:
        parts = {} if self.constant else {"aleatoric": self.aleatoric}
        parts["epistemic"] = self.epistemic
        return {name: size for name, size in parts.items() if size.isfinite().all()}

    def estimates(self) -> tuple[Estimate, ...]:
        """Of one path, whose points depend on each other: without errors."""
        return tuple(
            Estimate(
                f"{name} magnitude, mean along {self.path.name}", float(size.mean()), None, UNIT
            )
            for name, size in self._parts.items()
        )

    def arrays(self) -> dict[str, Tensor]:
        named = {f"path.{name}": size for name, size in self._parts.items()}
        return {"path.position": self.path.times, "path.token": self.path.tokens} | named

    def strips(self) -> tuple[Strip, ...]:
        """None where there are no words."""
        if not any(self.words):
            return ()
        return tuple(
            Strip(
                f"{name} magnitude of the step after each token", self.words, _listed(size), UNIT
            )
            for name, size in self._parts.items()
        )

    def figures(self) -> tuple[Figure, ...]:
        """Each part on a log scale, with the words beside their points."""
        return tuple(self._figure(name, size) for name, size in self._parts.items())

    def _figure(self, name: str, size: Float[Tensor, " time"]) -> Figure:
        where = {"x": self.path.times.double(), "y": size.clamp(min=1e-12).log10()}
        layers = [Layer("line", where), Layer("scatter", where)]
        if any(self.words):
            layers.append(Layer("words", where, words=self.words))
        return Figure(
            name,
            (Panel("position", f"log10 of the {name} magnitude", tuple(layers)),),
            f"{self.path.span}: {MEANS[name]}, root mean square over standardised coordinates, on "
            "a logarithmic scale.",
        )


@dataclass(frozen=True, eq=False)
class Heat:
    """The noise of each step along each principal component of the training states."""

    arrays: dict[str, Tensor]
    figures: tuple[Figure, ...]

    @classmethod
    def of(
        cls, fitted: Fitted, train: Paths, path: UncertaintyAlongPath, components: int
    ) -> "Heat":
        where = path.path
        plane = fit_basis(BasisSpec(f"pca:{min(components, where.states.shape[1])}"), train)
        t, z = where.times, fitted.basis.encode(where.times, where.states)
        axes = fitted.basis.decoder @ plane.encoder  # from latent to standardised components
        scale = fitted.sde.diffusion(t.to(z), z).times(fitted.dt)
        size = noise_along(scale, axes, len(t)).double().cpu()
        row = torch.arange(1, size.shape[1] + 1, dtype=torch.float64)
        layer = Layer(
            "heat",
            {
                "x": torch.arange(len(t)).double() if any(path.words) else t.double(),
                "y": row,
                "z": size.mT,
            },
            "noise of one step",
            words=path.words if any(path.words) else (),
        )
        figure = Figure(
            "components",
            (Panel("" if any(path.words) else "position", "principal component", (layer,)),),
            f"{where.span}: the noise of the step after each token along the leading principal "
            "components of the standardised training states, in standard deviations of a "
            "standardised coordinate.",
        )
        return cls({"components.noise": size, "components.position": t}, (figure,))


def _listed(size: Float[Tensor, " time"]) -> tuple[float, ...]:
    return tuple(size.tolist())
