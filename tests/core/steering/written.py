"""A small model, a fit to its states, and a writer that steers it."""

import torch
from torch import nn

from sdelens.estimation.additive import AdditiveMean
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Kernel
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import Basis
from sdelens.protocols import Site
from sdelens.seeds import generator
from sdelens.states.sampling import uniforms
from sdelens.steering.writer import STEERED, Writer

SITE = Site("block", 1)


IDS = torch.tensor([[0, 5, 17, 40, 3], [0, 9, 8, 21, 60]])


STEPS = 8


DRIFT, DIFFUSION = torch.tensor([0.7, -0.4]), torch.tensor([0.5, 1.8])


def writer(model, fitted, **changed):
    return Writer(model, SITE, fitted.law, fitted.basis, **changed)


def draws(rows, steps=STEPS):
    return uniforms(torch.arange(rows), (steps,), 4, STEERED)


class Table(nn.Module):
    """A torch module without a cache: a state for each token, then linear logits."""

    def __init__(self, words=12, width=6):
        super().__init__()
        random = generator(0, "table")
        self.words, self.inner = nn.Embedding(words, width), nn.Identity()
        self.out = nn.Linear(width, words, bias=False)
        self.words.weight.data = torch.randn(words, width, generator=random)
        self.out.weight.data = torch.randn(words, width, generator=random)
        self.requires_grad_(False)

    def forward(self, ids):
        return self.out(self.inner(self.words(ids)))


def identity_basis(dim):
    return Basis(
        times=torch.zeros(1),
        means=torch.zeros(1, dim),
        encoder=torch.eye(dim),
        decoder=torch.eye(dim),
        spread=torch.ones(dim),
        explained=torch.tensor(1.0),
        left_encoder=torch.zeros(dim, 0),
        left_decoder=torch.zeros(0, dim),
        dropped=0,
    )


def affine(shift, by_token=None, sde=True):
    """X' = X + shift, or what the token says."""
    dim = len(shift)
    known = torch.empty(0, dtype=torch.long) if by_token is None else torch.arange(len(by_token))
    mean = AdditiveMean(
        matrix=torch.eye(dim) if by_token is None else torch.zeros(dim, dim),
        times=torch.zeros(1),
        by_time=shift[None],
        known=known,
        by_token=torch.zeros(0, dim) if by_token is None else by_token,
    )
    return (KernelSDE if sde else Kernel)(mean, ConstantNoise.independent(torch.ones(dim)))


def one_step(module, model, law, ids, drift, **how):
    pen = Writer(model, Site("block", 0), law, identity_basis(6), skip_first=0, **how)
    doses = torch.full((len(ids),), drift)
    found = pen.write(ids, doses, torch.ones(len(ids)), draws(len(ids), 2))
    return found, module.words(found.words[:, 0])
