"""Studies of plain arrays with known laws."""

import re
from dataclasses import replace

import torch

from sdelens.estimation.additive import (
    AdditiveMean,
)
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Epoch, Site
from sdelens.seeds import generator
from sdelens.states.recording import View

BLOCK = View(Site("block", 0))


def epochs(validation, drift=1.0):
    """A history with these validation totals; training falls by 0.1 each time."""
    return tuple(
        Epoch(
            k + 1,
            len(validation),
            train={"drift": drift, "diffusion": 1 - 0.1 * k, "total": drift + 1 - 0.1 * k},
            validation={"drift": drift, "diffusion": total - drift, "total": total},
        )
        for k, total in enumerate(validation)
    )


def numbers_in(headline):
    """Numbers of a sentence; an interval or error belongs to its number, names have none."""
    alone = re.sub(r"\[[^]]*\]| ± [\d.e-]+|“[^”]*”|PC \d+", "", headline)
    return re.findall(r"(?<![\w.-])-?\d[\d,.]*%?", alone)


def kernel(matrix, std):
    """X' = A x + noise."""
    dim = len(matrix)
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(matrix, torch.zeros(1), torch.zeros(1, dim), blank, torch.zeros(0, dim))
    return KernelSDE(mean, ConstantNoise.independent(torch.full((dim,), std)))


def around(law, train, validation, test, history=(), settings=None, **more):
    """A study of one view in the states' own coordinates."""
    basis = fit_basis(BasisSpec("raw"), train)
    basis = replace(basis, means=torch.zeros_like(basis.means))
    fitted = Fitted(law, basis, Record("linear", settings or {}, "discrete", 1.0, 0, history))
    nothing = Documents.of([Document((0, 1))])
    return Study("s", {BLOCK: Viewed(fitted, train, validation, test)}, nothing, **more)


def autoregression(paths, steps, *, seed, decay=0.9, dim=4):
    """Paths of X' = decay x + N(0, 1), from the stationary law."""
    noise = torch.randn(steps, paths, dim, generator=generator(seed))
    states = [noise[0] / (1 - decay**2) ** 0.5]
    for step in noise[1:]:
        states.append(decay * states[-1] + step)
    return Trajectories.from_states(torch.stack(states, dim=1), 1.0)
