"""Null data: modified versions of the data in which a fit should find little or no dynamics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Int
from torch import Tensor

from sdelens.estimation.additive import Terms
from sdelens.estimation.selection import selected
from sdelens.evidence.interval import Interval
from sdelens.fitting.baselines import constant_laws
from sdelens.fitting.scores import tally
from sdelens.laws.constant_noise import NoiseSpec
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import MappedPaths, Paths, Trajectories
from sdelens.protocols import LanguageModel
from sdelens.seeds import generator
from sdelens.states.capturing import record, sites_of
from sdelens.states.recording import View

TERMS = {
    "iid_position": Terms(position=True),
    "linear": Terms(state=True, position=True),
}


@dataclass(frozen=True, eq=False)
class Sides:
    """Training, validation and test paths of a data set, in its original coordinates."""

    train: Paths
    validation: Paths
    test: Paths

    def permuted(self, seed: int) -> "Sides":
        """The same paths with their states in random order, which removes the dynamics."""
        sides = (self.train, self.validation, self.test)
        return Sides(*(permuted_states(side, seed) for side in sides))

    def linear_gain(self, spec: BasisSpec, groups: Int[Tensor, " document"]) -> Interval:
        """Gain of the `linear` baseline over i.i.d. per position, in nats per dimension.

        Both are fitted to these paths with constant diagonal noise, in a basis fitted to the
        training paths. The interval is over groups of test documents.
        """
        basis = fit_basis(spec, self.train)
        seen, held = basis.view(self.train), basis.view(self.validation)
        times = times_of(seen)
        moments, kept = Moments.of(seen, times), Moments.of(held, times)
        means = {name: selected(moments, kept, terms) for name, terms in TERMS.items()}
        laws = constant_laws(means, moments, kept, NoiseSpec())
        found = tally(laws, basis, self.test, dict(enumerate(groups.tolist())))["every"]
        iid, linear = found.nats
        return Interval.ratio((iid - linear) / found.dim, found.count)


def permuted_states(paths: Paths, seed: int) -> MappedPaths:
    """Paths with observed states in random order, and times and tokens unchanged."""

    def permute(block: Trajectories) -> Trajectories:
        random = generator(seed, "permute", int(block.document[0]))
        keys = torch.rand(block.mask.shape, generator=random).to(block.states.device)
        # place: observed positions first, in order; source: observed states first, at random
        place = (~block.mask).to(torch.uint8).argsort(dim=1, stable=True)
        source = keys.where(block.mask, 2.0).argsort(dim=1, stable=True)
        wide = (-1, -1, block.states.shape[-1])
        taken = block.states.gather(1, source[..., None].expand(wide))
        states = torch.zeros_like(block.states).scatter(1, place[..., None].expand(wide), taken)
        return replace(block, states=states)

    return MappedPaths(paths, permute)


def permuted_tokens(documents: Documents, seed: int, *, keep: int) -> Documents:
    """Documents with tokens in random order, except for the first `keep` of each."""
    lengths = documents.lengths
    row = torch.repeat_interleave(torch.arange(len(documents)), lengths)
    position = torch.arange(len(documents.tokens)) - documents.offsets[:-1][row]
    keys = torch.rand(len(row), generator=generator(seed, "permute"), dtype=torch.float64)
    order = torch.where(position < keep, position - keep, keys).argsort()
    order = order[row[order].argsort(stable=True)]
    return replace(documents, tokens=documents.tokens[order])


def captured(
    model: LanguageModel,
    documents: Documents,
    view: View,
    counts: Sequence[int],
    *,
    skip_first: int,
) -> Sides:
    """Capture the states of a model along documents, split into consecutive sides.

    `counts` are the numbers of training, validation and test documents, in this order.
    """
    sites = sites_of("embed,all", model) if view.axis == "layer" else [view.site]
    recording = record(model, documents, sites, skip_first=skip_first)
    paths: Paths = recording.view(view)
    ends = torch.tensor([0, *counts]).cumsum(0).tolist()
    return Sides(*(paths.select(range(a, b)) for a, b in pairwise(ends)))
