r"""The model's own next-state law over many prefixes, compared with the noise of a fit.

In latent coordinates, let m and :math:`\Sigma` be the mean and the covariance of a fit. A fit that
is correct as a Markov law satisfies
:math:`\mathrm{tr}\,\Sigma(x) = E[\mathrm{tr}\,S^* + |m^*-m|^2 \mid x]`. For two branches
:math:`q_b=|y_b-m|^2` both have that mean given the prefix and are independent, so that
:math:`\mathrm{Cov}(q_1,q_2)` is the variance of the true trace over prefixes, and the correlation
of :math:`\mathrm{tr}\,\Sigma` with it is not attenuated by the branches' error.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.branch_sampler import BranchedStates, BranchSampler
from sdelens.branching.cross_entropy import MOST, CrossEntropy
from sdelens.branching.next_state_moments import NextStateMoments
from sdelens.branching.noise_directions import NoiseDirections
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import SamplerCheck, SurprisalCheck
from sdelens.evidence.bootstrap import by_unit
from sdelens.fitting.fitted import Fitted
from sdelens.laws.law import Law
from sdelens.paths.standard_metric import per_dimension, standard_weights
from sdelens.protocols import LanguageModel, Site
from sdelens.seeds import derive

FIT = "fit"
WORDS = ("entropy", "exponential", "collision")
"""Entropy of the next token, its exponential, and the effective number of branches 1 / sum p²."""


@dataclass(frozen=True, eq=False)
class NoiseComparison:
    """Noise of the model and of the fit after each prefix, in training variances per dimension."""

    sampler: Float[Tensor, " prefix"]
    r""":math:`\mathrm{tr}\,S^*`."""
    total: Float[Tensor, " prefix"]
    r""":math:`\mathrm{tr}\,S^*+|m^*-m|^2`."""
    paired: Float[Tensor, "2 prefix"]
    """:math:`|y_b-m|^2` of two independent branches; NaN if tokens are enumerated."""
    fitted: Float[Tensor, " prefix"]
    r""":math:`\mathrm{tr}\,\Sigma`."""


@dataclass(frozen=True, eq=False)
class NextStateLaw:
    """The model's next-state law at one site."""

    directions: NoiseDirections | None
    """None if directions were not requested."""
    noise: NoiseComparison
    nats: CrossEntropy | None
    """None if there were too many branches to keep."""
    mean: Float[Tensor, "kept latent"]
    """Estimate of m* for the first prefixes, in latent coordinates."""


@dataclass(frozen=True, eq=False)
class NextStateLaws:
    """Next-state laws of all sites, over the same prefixes in the same order."""

    sites: Mapping[Site, NextStateLaw]
    words: Float[Tensor, "word prefix"]
    cell: Int[Tensor, " prefix"]
    unit: Int[Tensor, " prefix"]
    document: Int[Tensor, " prefix"]
    position: Int[Tensor, " prefix"]
    sampler_check: SamplerCheck
    tokens: int
    """Number of next tokens evaluated."""
    cached: bool

    def by(self, values: Float[Tensor, "*series prefix"], cells: int, units: int) -> Tensor:
        """Sums by cell and unit."""
        sums = by_unit(values, self.cell * units + self.unit, cells * units)
        return rearrange(sums, "... (cell unit) -> ... cell unit", unit=units)


@torch.no_grad()
def next_state_laws(
    model: LanguageModel,
    fits: Mapping[Site, Fitted],
    branching: BranchSampler,
    prefixes: Prefixes,
    cell: Int[Tensor, "document time"],
    *,
    kept: int,
    rivals: Mapping[Site, Mapping[str, Law]] | None = None,
    directions: bool = True,
    seed: int,
) -> NextStateLaws:
    """Next-state laws of all sites in one pass over the texts.

    A few numbers are kept for each prefix; matrices are only summed. `rivals` are additional laws
    at each site, in the coordinates of its fit, whose cross-entropies are computed as well.
    Without `directions` no matrix is summed.
    """
    branching = replace(branching, held=MOST)
    held = branching.choice.most_tried(model.card.vocabulary) <= MOST
    more = rivals or {}
    laws = {site: {FIT: fitted.law, **more.get(site, {})} for site, fitted in fits.items()}
    entropies = {
        site: CrossEntropy(own, prefixes.units, standard_weights(fits[site].basis).sqrt())
        for site, own in laws.items()
        if held
    }
    found = {
        site: _Sums(fitted, kept, entropies.get(site), prefixes, directions, seed)
        for site, fitted in fits.items()
    }
    labels: list[Tensor] = []
    words: list[Tensor] = []
    surprisals = SurprisalCheck(prefixes, cached=branching.cached)
    for text in branching(model, prefixes, list(fits), seed=seed):
        surprisals.add(text)
        for site in fits:
            found[site].read(text, site)
        for places, ahead in text.pieces():
            row, place = text.inside[:, places].nonzero(as_tuple=True)
            time, document = text.at[places][place], text.row[row]
            parts = (cell[document, time], prefixes.unit[document])
            labels.append(torch.stack([*parts, prefixes.numbers[document], time]))
            words.append(_words(text, row, place + places.start))
            for site in fits:
                found[site].add(text, row, place + places.start, ahead[site][row, place])
        for site in fits:
            found[site].done(text)
    own, unit, document, position = torch.cat(labels, 1)
    return NextStateLaws(
        {site: one.result() for site, one in found.items()},
        torch.cat(words, 1),
        own,
        unit,
        document,
        position,
        surprisals.result(branching, model.card.dtype),
        surprisals.fed,
        surprisals.cached,
    )


def _words(text: BranchedStates, row: Tensor, place: Tensor) -> Float[Tensor, "word prefix"]:
    entropy, collision = (getattr(text.law, n)[row, place] for n in ("entropy", "collision"))
    return torch.stack([entropy, entropy.exp(), 1 / collision])


class _Sums:
    """Running sums at one site."""

    def __init__(
        self,
        fitted: Fitted,
        kept: int,
        nats: CrossEntropy | None,
        prefixes: Prefixes,
        directions: bool,
        seed: int,
    ) -> None:
        self.fitted, self.kept, self.prefixes, self.seed = fitted, kept, prefixes, seed
        self.weights = standard_weights(fitted.basis)
        self.directions, self.nats = NoiseDirections(self.weights) if directions else None, nats
        self.columns: list[Tensor] = []
        self.means: list[Tensor] = []

    def read(self, text: BranchedStates, site: Site) -> None:
        """Evaluate the fitted law at all states of a batch of texts."""
        block = self.prefixes.path(text.row, text.cache.states[site], self.fitted)
        self.law = self.fitted.law.predict(block)
        variance = self.law.covariance().variance().expand(block.states.shape)
        self.predicted, self.traces = self.law.mean, per_dimension(variance, self.weights)
        if self.nats is not None:
            self.nats.read(block, text.branches)

    def add(self, text: BranchedStates, row: Tensor, place: Tensor, following: Tensor) -> None:
        """Add prefixes of the current texts with the states after their next tokens."""
        time = text.at[place]
        y = self.fitted.basis.encode((time + 1.0)[:, None], following)
        ahead, m = NextStateMoments.of(y, text.law.chosen[row, place]), self.predicted[row, time]
        noise, error = ahead.noise(self.weights), ahead.error(self.weights)
        away = per_dimension((ahead.mean - m).square(), self.weights) - error
        pair = torch.full((2, len(row)), torch.nan, dtype=torch.float64)
        if ahead.chosen.tokens.shape[-1] == ahead.chosen.drawn:
            pair = per_dimension((y[:, :2] - m[:, None]).square(), self.weights).mT
        rest = torch.stack([noise, noise + away, self.traces[row, time]])
        self.columns.append(torch.cat([rest, pair]))
        if self.directions is not None:
            self.directions.add(ahead, m, self.prefixes.unit[text.row[row]])
        if self.nats is not None:
            self.nats.hold(row, time, y, ahead.chosen.weights)
        left = self.kept - sum(len(part) for part in self.means)
        self.means.append(ahead.mean[: max(0, left)])

    def done(self, text: BranchedStates) -> None:
        """Finish the current texts: sums that need all of their prefixes."""
        unit = self.prefixes.unit[text.row]
        if self.directions is not None:
            wanted = torch.zeros(self.traces.shape, dtype=torch.bool)
            wanted[:, text.at] = text.inside
            own = derive(self.seed, "noise", int(text.row[0]))
            self.directions.add_fit(self.law, wanted, unit, seed=own)
        if self.nats is not None:
            self.nats.add(unit)

    def result(self) -> NextStateLaw:
        """The law from all added prefixes."""
        columns = torch.cat(self.columns, 1)
        noise = NoiseComparison(columns[0], columns[1], columns[3:], columns[2])
        return NextStateLaw(self.directions, noise, self.nats, torch.cat(self.means))
