"""A linear fit to real states of a tiny model, and paths whose law is known, as studies."""

from dataclasses import replace

import torch

from sdelens.estimation.additive import AdditiveMean, Terms, second_moment
from sdelens.estimation.noise import ConstantNoise, NoiseSpec
from sdelens.estimation.selection import selected
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.law import Noise
from sdelens.laws.scale import DiagonalScale
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.moments import Moments, times_of
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens.states.capturing import record
from sdelens.states.generation import sample
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler

BLOCK = View(Site("block", 0))
SITE = Site("block", 2)


class Growing(Noise):
    """Noise whose logarithm grows with one coordinate, within bounds."""

    def __init__(self, slope, coordinate=0):
        self.slope, self.coordinate = slope, coordinate

    def __call__(self, t, x):
        level = self.slope * x[..., self.coordinate, None].tanh()
        return DiagonalScale(level.exp().expand(x.shape))

    def tensors(self):
        return {}


def kernel(decay, dim, noise):
    """X' = decay X + noise."""
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(
        decay * torch.eye(dim), torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim)
    )
    return KernelSDE(mean, noise)


def simulated(law, paths, steps, dim, *, seed, first=0):
    """Paths of a kernel from the standard normal, documents numbered from `first`."""
    random = generator(seed)
    states = [torch.randn(paths, dim, generator=random)]
    for _ in range(steps - 1):
        step = law.transition(torch.zeros(()), states[-1])
        noise = torch.randn(paths, dim, generator=random)
        states.append(step.mean + step.scale.apply(noise))
    block = Trajectories.from_states(torch.stack(states, 1), 1.0)
    return replace(block, document=block.document + first)


def around(law, sides, members=()):
    """A study of a law in the states' own coordinates; documents are numbered through."""
    basis = fit_basis(BasisSpec("raw"), sides[0])
    basis = replace(basis, means=torch.zeros_like(basis.means))
    made = Record("linear", {}, "discrete", 1.0, 0)
    fitted = Fitted(law, basis, made, members=tuple(members))
    documents = Documents.of([Document((0, 1))] * sum(len(side.document) for side in sides))
    return Study("s", {BLOCK: Viewed(fitted, *sides)}, documents)


def three_sides(law, dim=3, steps=25, counts=(60, 10, 40), seed=0):
    """Training, validation and test paths of a law."""
    starts = (0, counts[0], counts[0] + counts[1])
    return tuple(
        simulated(law, count, steps, dim, seed=seed + first, first=first)
        for count, first in zip(counts, starts, strict=True)
    )


def real_study(model, basis="pca:16", noise=None, members=0, documents=60):
    """A linear fit to block 2 of texts that the model wrote; 40 train, 10 validate, the rest test.

    `noise` stands in for the constant noise of the fit.
    """
    drawn = sample(model, Sampler(), documents=documents, length=48, seed=0)
    texts = Documents.of(drawn)
    captured = record(model, texts, [SITE], skip_first=1)
    view = View(SITE)
    sides = (range(40), range(40, 50), range(50, documents))
    train, validation, test = (captured.view(view).select(list(side)) for side in sides)
    made = fit_basis(BasisSpec(basis), train)
    law = _linear(made, train, validation, noise)
    parts = (list(range(k, 40, members)) for k in range(members))
    others = tuple(_linear(made, train.select(own), validation, noise) for own in parts)
    record_ = Record("linear", {}, "discrete", 1.0, 0)
    fitted = Fitted(law, made, record_, captured.origin, members=others)
    return Study("s", {view: Viewed(fitted, train, validation, test)}, texts, model)


def _linear(basis, train, validation, noise):
    latent, held = basis.view(train), basis.view(validation)
    times = times_of(latent)
    moments, kept = Moments.of(latent, times), Moments.of(held, times_of(held))
    mean = selected(moments, kept, Terms(state=True))
    noise = noise or ConstantNoise.of(NoiseSpec(), second_moment(mean, moments))
    return KernelSDE(mean.to(torch.float32), noise)
