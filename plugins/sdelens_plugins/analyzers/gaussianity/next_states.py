"""The law of the next state after many prefixes: its shape by temperature, and a fit beside it."""

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

FIRST = (1, 2, 4, 8)
"""Of so many first eigenvectors the share of the trace is told."""
WORDS = ("exponential", "collision", "listed")
FORMS = ("variance", "kurtosis", "gap", "participation", "rank")
SERIES = (*WORDS, *FORMS, *(f"share{k}" for k in FIRST))
"""What is told of each prefix at each temperature."""
PERMUTED = ("kurtosis", "gap", "share1")
"""What is told as well of the same states with the weights of tokens permuted."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """The next states of each prefix along its first direction, at the run's own temperature."""

    tokens: Int[Tensor, "prefix branch"]
    weights: Float[Tensor, "prefix branch"]
    projection: Float[Tensor, "prefix branch"]
    """From the mean, in standard deviations."""


@dataclass(frozen=True, eq=False)
class NextStates:
    """Of all prefixes, in the same order."""

    series: Float[Tensor, "series temperature prefix"]
    """By the names of `SERIES`; variances are training variances per dimension."""
    permuted: Float[Tensor, "permuted temperature prefix"]
    """By the names of `PERMUTED`: as many states, as unevenly weighed, but by chance."""
    gaussian_divergence: GaussianDivergence
    """Of the fit, at the run's own temperature."""
    ignorance: GaussianDivergence
    """Of mean and covariance of all training states, which know nothing of the prefix."""
    atoms: Atoms
    unit: Int[Tensor, " prefix"]
    document: Int[Tensor, " prefix"]
    position: Int[Tensor, " prefix"]
    agreement: SamplerCheck
    fed: int
    """Next tokens that were fed."""

    def of(self, name: str) -> Float[Tensor, "temperature prefix"]:
        """One of the `SERIES`."""
        return self.series[SERIES.index(name)]

    def by_chance(self, name: str) -> Float[Tensor, "temperature prefix"]:
        """One of the `PERMUTED`."""
        return self.permuted[PERMUTED.index(name)]


@torch.no_grad()
def next_states(
    model: LanguageModel,
    site: Site,
    viewed: Viewed,
    fanning: PrefixSampling,
    prefixes: Prefixes,
    *,
    seed: int,
) -> NextStates:
    """In coordinates standardised on training, of those that the fit's basis keeps."""
    fitted, every = viewed.fitted, _moments(viewed)
    own = fanning.temperatures.index(fanning.sampler.temperature)
    series: list[Tensor] = []
    permuted: list[Tensor] = []
    atoms: list[tuple[Tensor, ...]] = []
    fits: list[GaussianDivergence] = []
    alone: list[GaussianDivergence] = []
    places: list[Tensor] = []
    excess, fed = torch.zeros(3, prefixes.units, dtype=torch.float64), 0
    for fan in fanning(model, prefixes, site, seed=seed):
        points = _standard(fitted, fan)
        forms = [Spectrum.of(points, each) for each in fan.at_temperature.weights]
        series.append(_series(fan, forms))
        random = generator(seed, "permuted", int(prefixes.numbers[fan.row]))
        chance = [Spectrum.of(points, each) for each in fan.at_temperature.permuted(random)]
        permuted.append(torch.stack([_told(chance, name) for name in PERMUTED]))
        fits.append(gaussian_divergence(forms[own], *_foretold(fitted, fan, prefixes)))
        alone.append(
            gaussian_divergence(
                forms[own], *(part.expand(len(fan.at), *part.shape) for part in every)
            )
        )
        weights = fan.at_temperature.weights[own]
        atoms.append((fan.at_temperature.tokens, weights, forms[own].projection))
        row = torch.full_like(fan.at, fan.row)
        places.append(torch.stack([prefixes.unit[row], prefixes.numbers[row], fan.at]))
        excess += fan.excess
        fed += fan.at_temperature.tokens.numel()
    if not series:
        raise UsageError("no held-out prefix has a next token: fit to more or longer texts")
    unit, document, position = torch.cat(places, 1)
    return NextStates(
        torch.cat(series, -1),
        torch.cat(permuted, -1),
        GaussianDivergence.joined(fits),
        GaussianDivergence.joined(alone),
        Atoms(*(_rows(parts) for parts in zip(*atoms, strict=True))),
        unit,
        document,
        position,
        SamplerCheck.of(excess, at_the_edge(fanning.sampler, model.card.dtype)),
        fed,
    )


def _standard(fitted: Fitted, fan: PrefixSample) -> Float[Tensor, "prefix branch latent"]:
    """The next states: latent coordinates, scaled to training deviations."""
    z = fitted.basis.encode((fan.at + 1.0)[:, None], fan.following)
    return z.double() * standard_weights(fitted.basis).sqrt()


def _series(
    fan: PrefixSample, forms: list[Spectrum]
) -> Float[Tensor, "series temperature prefix"]:
    words = [getattr(fan.at_temperature, name) for name in WORDS]
    told = [_told(forms, name) for name in (*FORMS, *(f"share{k}" for k in FIRST))]
    return torch.stack([part.double() for part in (*words, *told)])


def _told(forms: list[Spectrum], name: str) -> Shaped[Tensor, "temperature prefix"]:
    if name.startswith("share"):
        return torch.stack([form.share(int(name.removeprefix("share"))) for form in forms])
    return torch.stack([getattr(form, name) for form in forms])


def _foretold(
    fitted: Fitted, fan: PrefixSample, prefixes: Prefixes
) -> tuple[Float[Tensor, "prefix latent"], Float[Tensor, "prefix latent latent"]]:
    """Mean and covariance of the fit after each prefix, in the same coordinates."""
    block = prefixes.path(torch.tensor([fan.row]), fan.block, fitted)
    if isinstance(fitted.law, SDE):  # of other laws more than the last state may count
        law = fitted.law.transition(block.times[0, fan.at], block.states[0, fan.at])
        mean, covariance = law.mean, law.covariance().covariance()
    else:
        law = fitted.law.predict(block)
        each = law.covariance().covariance()
        covariance = each if each.ndim == 2 else each.expand(1, *each.shape[-3:])[0, fan.at]
        mean = law.mean[0, fan.at]
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


def _rows(parts: Sequence[Shaped[Tensor, "_ _"]]) -> Shaped[Tensor, "prefix branch"]:
    """Of several texts, as wide as the widest: what is added has no weight."""
    width = max(part.shape[-1] for part in parts)
    pad = torch.nn.functional.pad
    return torch.cat([pad(part, (0, width - part.shape[-1])) for part in parts])
