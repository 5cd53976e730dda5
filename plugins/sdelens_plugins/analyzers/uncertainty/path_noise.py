"""The noise and the drift uncertainty of the fit along one path."""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study
from sdelens.language.noise_magnitude import drift_uncertainty, noise_along, noise_magnitude
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.trajectories import Paths
from sdelens_plugins.analyzers.common.observed_path import ObservedPath, next_tokens_along


@dataclass(frozen=True, eq=False)
class PathNoise:
    """The noise at each state of one path, in standard deviations per step."""

    path: ObservedPath
    words: tuple[str, ...]
    aleatoric: Float[Tensor, " time"]
    """The noise of the fit."""
    epistemic: Float[Tensor, " time"]
    """The spread of the drift over the ensemble; NaN without one."""
    constant: bool
    """Whether the aleatoric part is the same everywhere, so that there is nothing to draw."""
    entropy: Float[Tensor, " time"] | None = None
    """Of the model's next token, in nats; None if there is no model."""

    @classmethod
    def of(
        cls, study: Study, path: ObservedPath, words: tuple[str, ...], *, constant: bool
    ) -> "PathNoise":
        """At every state of the path."""
        fitted = study.single[1].fitted
        z = fitted.basis.encode(path.times, path.states)
        t = path.times.to(z)
        aleatoric, epistemic = noise_magnitude(fitted, t, z), drift_uncertainty(fitted, t, z)
        sizes = aleatoric.cpu(), epistemic.cpu()
        return cls(path, words, *sizes, constant, _entropy(study, path))

    def first(self, count: int) -> "PathNoise":
        """The first states only."""
        return replace(
            self,
            path=self.path.first(count),
            words=self.words[:count],
            aleatoric=self.aleatoric[:count],
            epistemic=self.epistemic[:count],
            entropy=None if self.entropy is None else self.entropy[:count],
        )

    @property
    def has_words(self) -> bool:
        """Whether tokens have a text."""
        return any(self.words)

    @property
    def parts(self) -> dict[str, Float[Tensor, " time"]]:
        """The parts that vary along the path, by name."""
        parts = {} if self.constant else {"aleatoric": self.aleatoric}
        parts["epistemic"] = self.epistemic
        return {name: size for name, size in parts.items() if size.isfinite().all()}


def _entropy(study: Study, path: ObservedPath) -> Float[Tensor, " time"] | None:
    """The entropy of the model's next token after each state; None along the depth."""
    view, _ = study.single
    if study.model is None or view.axis == "layer":
        return None
    return next_tokens_along(study, path).entropy[0, path.times.long().cpu()]


def component_noise(
    fitted: Fitted, train: Paths, path: ObservedPath, components: int
) -> Float[Tensor, "time component"]:
    """The noise of each step along the leading principal components of the training states."""
    plane = fit_basis(BasisSpec(f"pca:{min(components, path.states.shape[1])}"), train)
    t, z = path.times, fitted.basis.encode(path.times, path.states)
    axes = fitted.basis.decoder @ plane.encoder  # from latent to standardised components
    scale = fitted.sde.diffusion(t.to(z), z).times(fitted.dt)
    return noise_along(scale, axes, len(t)).double().cpu()
