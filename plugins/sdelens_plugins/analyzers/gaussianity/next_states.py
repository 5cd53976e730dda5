"""Shapes of the next-state law after many prefixes by temperature, and the divergence of a fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import SamplerCheck, at_the_edge
from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Viewed
from sdelens.laws.sde import SDE
from sdelens.paths.standard_metric import standard_weights
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import generator
from sdelens_plugins.analyzers.gaussianity.gaussian_divergence import (
    GaussianDivergence,
    gaussian_divergence,
)
from sdelens_plugins.analyzers.gaussianity.prefix_sample import PrefixSample, PrefixSampling
from sdelens_plugins.analyzers.gaussianity.spectrum import Spectrum

EIGENVECTORS = (1, 2, 4, 8)
"""Numbers of leading eigenvectors whose share of the trace is reported."""
TOKENS = ("exponential", "collision", "listed")
SHAPES = ("variance", "kurtosis", "gap", "participation", "rank")
SERIES = (*TOKENS, *SHAPES, *(f"share{k}" for k in EIGENVECTORS))
"""What is measured after each prefix at each temperature."""
PERMUTED = ("kurtosis", "gap", "share1")
"""What is also measured on the same states with the weights of tokens permuted."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """Next states of each prefix along its first direction, at the temperature of the texts."""

    tokens: Int[Tensor, "prefix branch"]
    weights: Float[Tensor, "prefix branch"]
    projection: Float[Tensor, "prefix branch"]
    """The projection from the mean, in standard deviations."""


@dataclass(frozen=True, eq=False)
class NextStates:
    """The next-state laws of all prefixes, in the same order."""

    series: Float[Tensor, "series temperature prefix"]
    """Rows by the names of `SERIES`; variances are training variances per dimension."""
    permuted: Float[Tensor, "permuted temperature prefix"]
    """Rows by the names of `PERMUTED`: the same states and weights, paired at random."""
    fit_divergence: GaussianDivergence
    """The divergence of the fit, at the temperature of the texts."""
    marginal_divergence: GaussianDivergence
    """The divergence of the Gaussian of all training states, whatever the prefix."""
    atoms: Atoms
    unit: Int[Tensor, " prefix"]
    document: Int[Tensor, " prefix"]
    position: Int[Tensor, " prefix"]
    agreement: SamplerCheck
    fed: int
    """The number of next tokens that were fed to the model."""

    def of(self, name: str) -> Float[Tensor, "temperature prefix"]:
        """One of the `SERIES`."""
        return self.series[SERIES.index(name)]

    def permuted_series(self, name: str) -> Float[Tensor, "temperature prefix"]:
        """One of the `PERMUTED`."""
        return self.permuted[PERMUTED.index(name)]


@torch.no_grad()
def next_states(
    model: LanguageModel,
    site: Site,
    viewed: Viewed,
    sampling: PrefixSampling,
    prefixes: Prefixes,
    *,
    seed: int,
) -> NextStates:
    """Measures the laws in standardised coordinates of the directions that the fit's basis keeps.

    Raises `UsageError` if no prefix has a next token.
    """
    fitted, marginal = viewed.fitted, _moments(viewed)
    own = sampling.temperatures.index(sampling.sampler.temperature)
    series: list[Tensor] = []
    permuted: list[Tensor] = []
    atoms: list[tuple[Tensor, ...]] = []
    fit_divergences: list[GaussianDivergence] = []
    marginal_divergences: list[GaussianDivergence] = []
    places: list[Tensor] = []
    excess, fed = torch.zeros(3, prefixes.units, dtype=torch.float64), 0
    for sample in sampling(model, prefixes, site, seed=seed):
        points, tokens = _standardised(fitted, sample), sample.at_temperature
        spectra = [Spectrum.of(points, weights) for weights in tokens.weights]
        series.append(_series(sample, spectra))
        random = generator(seed, "permuted", int(prefixes.numbers[sample.row]), int(sample.at[0]))
        by_chance = [Spectrum.of(points, weights) for weights in tokens.permuted(random)]
        permuted.append(torch.stack([_shape(by_chance, name) for name in PERMUTED]))
        prediction = _prediction(fitted, sample, prefixes)
        fit_divergences.append(gaussian_divergence(spectra[own], *prediction))
        expanded = (moment.expand(len(sample.at), *moment.shape) for moment in marginal)
        marginal_divergences.append(gaussian_divergence(spectra[own], *expanded))
        atoms.append((tokens.tokens, tokens.weights[own], spectra[own].projection))
        row = torch.full_like(sample.at, sample.row)
        places.append(torch.stack([prefixes.unit[row], prefixes.numbers[row], sample.at]))
        excess += sample.excess
        fed += tokens.tokens.numel()
    if not series:
        raise UsageError("no held-out prefix has a next token: fit to more or longer texts")
    unit, document, position = torch.cat(places, 1)
    return NextStates(
        torch.cat(series, -1),
        torch.cat(permuted, -1),
        GaussianDivergence.concatenated(fit_divergences),
        GaussianDivergence.concatenated(marginal_divergences),
        Atoms(*(_padded(parts) for parts in zip(*atoms, strict=True))),
        unit,
        document,
        position,
        SamplerCheck.of(excess, at_the_edge(sampling.sampler, model.card.dtype)),
        fed,
    )


def _standardised(fitted: Fitted, sample: PrefixSample) -> Float[Tensor, "prefix branch latent"]:
    """The next states in latent coordinates, scaled to training deviations."""
    z = fitted.basis.encode((sample.at + 1.0)[:, None], sample.following)
    return z.double() * standard_weights(fitted.basis).sqrt()


def _series(
    sample: PrefixSample, spectra: list[Spectrum]
) -> Float[Tensor, "series temperature prefix"]:
    tokens = [getattr(sample.at_temperature, name) for name in TOKENS]
    shapes = [_shape(spectra, name) for name in SERIES[len(TOKENS) :]]
    return torch.stack([part.double() for part in (*tokens, *shapes)])


def _shape(spectra: list[Spectrum], name: str) -> Shaped[Tensor, "temperature prefix"]:
    if name.startswith("share"):
        first = int(name.removeprefix("share"))
        return torch.stack([spectrum.share(first) for spectrum in spectra])
    return torch.stack([getattr(spectrum, name) for spectrum in spectra])


def _prediction(
    fitted: Fitted, sample: PrefixSample, prefixes: Prefixes
) -> tuple[Float[Tensor, "prefix latent"], Float[Tensor, "prefix latent latent"]]:
    """Mean and covariance of the fit after each prefix, in the same coordinates."""
    block = prefixes.path(torch.tensor([sample.row]), sample.block, fitted)
    if isinstance(fitted.law, SDE):  # other laws may depend on more than the last state
        law = fitted.law.transition(block.times[0, sample.at], block.states[0, sample.at])
        mean, covariance = law.mean, law.covariance().covariance()
    else:
        law = fitted.law.predict(block)
        covariance = law.covariance().covariance()
        if covariance.ndim > 2:
            covariance = covariance.expand(1, *covariance.shape[-3:])[0, sample.at]
        mean = law.mean[0, sample.at]
    root = standard_weights(fitted.basis).sqrt()
    wide = covariance.expand(len(mean), *covariance.shape[-2:]).double()
    return mean.double() * root, root[:, None] * wide * root


def _moments(viewed: Viewed) -> tuple[Float[Tensor, " latent"], Float[Tensor, "latent latent"]]:
    """Mean and covariance of training states, in the same coordinates."""
    root = standard_weights(viewed.fitted.basis).sqrt()
    count, first, second = 0, torch.zeros_like(root), root.new_zeros(len(root), len(root))
    for block in viewed.fitted.encoded(viewed.train):
        z = block.states[block.mask].double() * root
        count, first, second = count + len(z), first + z.sum(0), second + z.mT @ z
    mean = first / count
    return mean, second / count - mean[:, None] * mean


def _padded(parts: Sequence[Shaped[Tensor, "_ _"]]) -> Shaped[Tensor, "prefix branch"]:
    """The rows of several texts, padded with zeros to the widest."""
    width = max(part.shape[-1] for part in parts)
    pad = torch.nn.functional.pad
    return torch.cat([pad(part, (0, width - part.shape[-1])) for part in parts])
