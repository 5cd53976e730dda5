"""Products of increments and predictors over all prefixes of held-out texts, at several sites."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.branching.branch_sampler import BranchedStates, BranchSampler
from sdelens.branching.next_state_moments import NextStateMoments
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.sampler_check import SamplerCheck, SurprisalCheck
from sdelens.paths.basis import Basis
from sdelens.paths.standard_metric import standard_weights
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import LanguageModel, Site
from sdelens_plugins.analyzers.decomposition.predictors import Predictors
from sdelens_plugins.analyzers.decomposition.shares import IncrementProducts


@dataclass(frozen=True, eq=False)
class Measurement:
    """The sums of one pass of branching over all texts."""

    products: Mapping[Site, IncrementProducts]
    """Sums by cell of prefixes and unit of documents, at each site."""
    agreement: SamplerCheck
    tokens: int
    """The number of next tokens that were fed to the model."""
    cached: bool


@dataclass(frozen=True, eq=False)
class _Layer:
    """A few texts at one site, with the predictions for them."""

    text: BranchedStates
    block: Trajectories
    predicted: Float[Tensor, "predictor document time latent"]
    basis: Basis
    weights: Float[Tensor, " latent"]

    @classmethod
    def of(
        cls, text: BranchedStates, site: Site, prefixes: Prefixes, predict: Predictors
    ) -> "_Layer":
        fitted = predict.fitted
        block = prefixes.path(text.row, text.cache.states[site], fitted)
        weights = standard_weights(fitted.basis)
        return cls(text, block, predict(block), fitted.basis, weights)

    def add_to(
        self,
        products: IncrementProducts,
        places: slice,
        states: Tensor,
        cell: Tensor,
        unit: Tensor,
    ) -> IncrementProducts:
        """The products with the prefixes of some positions and their next states."""
        at, inside = self.text.at[places], self.text.inside[:, places]
        row, place = inside.nonzero(as_tuple=True)
        time = at[place]
        tokens = self.text.law.chosen[row, place + places.start]
        following = self.basis.encode((time + 1.0)[:, None], states[row, place])
        return products.add(
            self.predicted[:, row, time],
            self.block.states[row, time],
            NextStateMoments.of(following, tokens),
            self.block.states[row, time + 1],
            self.weights,
            cell[self.text.row[row], time],
            unit[self.text.row[row]],
        )


@torch.no_grad()
def measure(
    model: LanguageModel,
    predictors: Mapping[Site, Predictors],
    branching: BranchSampler,
    prefixes: Prefixes,
    cell: Int[Tensor, "document time"],
    *,
    cells: int,
    seed: int,
) -> Measurement:
    """Measures all layers in one pass; `cell` is that of the prefix ending at each position."""
    products = {site: IncrementProducts.zeros(cells, prefixes.units) for site in predictors}
    check = SurprisalCheck(prefixes, cached=branching.cached)
    for text in branching(model, prefixes, list(predictors), seed=seed):
        check.add(text)
        layers = {s: _Layer.of(text, s, prefixes, predict) for s, predict in predictors.items()}
        for places, next_states in text.pieces():
            for site, layer in layers.items():
                products[site] = layer.add_to(
                    products[site], places, next_states[site], cell, prefixes.unit
                )
    agreement = check.result(branching, model.card.dtype)
    return Measurement(products, agreement, check.fed, check.cached)
