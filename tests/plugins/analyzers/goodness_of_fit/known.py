"""Laws whose truth is known."""

from dataclasses import replace

import torch

from sdelens.estimation.additive import (
    AdditiveMean,
)
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens_plugins.analyzers.goodness_of_fit.analyzer import GoodnessOfFitAnalyzer

BLOCK = View(Site("block", 0))


DECAY, DIM, STEPS = 0.7, 4, 40


QUICK = GoodnessOfFitAnalyzer(draws=4, paths=32, starts=600, projections=50, nulls=120)


def autoregression(paths, *, seed, first=0, law=torch.randn):
    """Paths of X' = .7 X + noise of unit variance, from the stationary law."""
    noise = law(STEPS, paths, DIM, generator=generator(seed))
    states = [noise[0] / (1 - DECAY**2) ** 0.5]
    for step in noise[1:]:
        states.append(DECAY * states[-1] + step)
    block = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
    return replace(block, document=block.document + first)


def kernel(decay=DECAY, std=1.0, noise=None):
    blank = torch.empty(0, dtype=torch.long)
    still = torch.zeros(1, DIM)
    mean = AdditiveMean(
        decay * torch.eye(DIM), torch.zeros(1), still, blank, blank.new_zeros(0, DIM).float()
    )
    return KernelSDE(mean, noise or ConstantNoise.independent(torch.full((DIM,), std)))


def around(law, sides, scores=None, probe="neural"):
    """A study of one view in the states' own coordinates; documents are numbered through."""
    basis = fit_basis(BasisSpec("raw"), sides[0])
    basis = replace(basis, means=torch.zeros_like(basis.means))
    fitted = Fitted(law, basis, Record(probe, {}, "discrete", 1.0, 0, (), scores or {}))
    count = sum(len(side.document) for side in sides)
    documents = Documents.of([Document((0, 1))] * count)
    return Study("s", {BLOCK: Viewed(fitted, *sides)}, documents)
