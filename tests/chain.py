"""A language model that is a known chain: shares of its motion have closed forms."""

from dataclasses import dataclass, replace

import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.branched_transitions import branched_transitions
from sdelens.branching.token_choice import TokenChoice
from sdelens.estimation.noise import ConstantNoise
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.origin import ModelCard
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.protocols import Pass, Site
from sdelens.states.capturing import origin_of, record
from sdelens.states.generation import sample
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler
from tests.language import kernel

SITE = Site("block", 0)


@dataclass(frozen=True, eq=False)
class Chain:
    """X = ±1 is a bit of each token; a second bit h of it does not show in X, but in what follows.

    E[X'| past] = a X_t + c X_(t-1) + b h_t, h fair and independent of all. Token 2 u + h says both
    bits; `heat` is what logits are multiplied with, so that a temperature of `heat` undoes it.
    """

    a: float = 0.3
    b: float = 0.4
    c: float = 0.2
    heat: float = 1.0

    library, device = "", torch.device("cpu")

    def hooked(self):
        return False

    @property
    def card(self):
        return ModelCard(
            name="chain",
            revision="",
            fingerprint="chain",
            weights="raw",
            dtype="float32",
            blocks=1,
            width=1,
            context=4096,
            vocabulary=4,
            bos=0,
            eos=None,
        )

    def encode(self, text):
        return []

    def decode(self, ids):
        return [" ab"[i % 3] for i in ids]

    def run(self, tokens, *, read=(), edit=None, past=None, keep=False, logits=False):
        every = tokens if past is None else torch.cat([past, tokens], 1)
        visible, hidden = (2 * part.float() - 1 for part in (every // 2, every % 2))
        before = torch.nn.functional.pad(visible, (1, 0))[:, :-1]
        mean = self.a * visible + self.c * before + self.b * hidden
        up = (1 + mean) / 4
        law = torch.stack([0.5 - up, 0.5 - up, up, up], -1).log() * self.heat
        own = slice(every.shape[1] - tokens.shape[1], None)
        reads = dict.fromkeys(read, visible[:, own, None])
        return Pass(reads, law[:, own] if logits else None, every if keep else None)

    def untrained(self, seed):
        return self

    @property
    def shares(self):
        """Drift of the linear law, lack of fit, memory of a lag, unexplained, sampling noise."""
        rho = self.a / (1 - self.c)
        motion = 2 * (1 - rho)
        memory = self.c**2 * (1 - rho**2)
        known = rho**2 + memory + self.b**2
        parts = ((1 - rho) ** 2, 0.0, memory, self.b**2, 1 - known)
        return torch.tensor(parts, dtype=torch.float64) / motion


def chain_study(model, law, *, sampler=None, documents=300, length=60, temperature=1.0, seed=0):
    """A law as the fit to texts of the chain: 150 train, 30 validate, the rest test."""
    drawn = sample(model, Sampler(temperature), documents=documents, length=length, seed=seed)
    texts = Documents.of(drawn)
    paths = record(model, texts, [SITE], skip_first=1).view(View(SITE))
    sides = (range(150), range(150, 180), range(180, documents))
    train, validation, test = (paths.select(list(side)) for side in sides)
    basis = fit_basis(BasisSpec("raw"), train)
    basis = replace(basis, means=torch.zeros_like(basis.means))
    fitted = Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0))
    views = {View(SITE): Viewed(fitted, train, validation, test)}
    return Study("chain", views, texts, model, sampler=sampler)


def linear_chain_study():
    """A study of the chain's own texts under its best linear law."""
    model = Chain()
    law = kernel(model.a / (1 - model.c), 1, ConstantNoise.independent(torch.ones(1)))
    return chain_study(model, law, sampler=Sampler())


def chain_origin(study):
    """The origin of the states of a study of the chain."""
    return origin_of(study.model, study.documents, [SITE], skip_first=1)


def branched_steps(study, origin, numbers, *, branches=4, every=1, own=True, sampler=None):
    """Branched transitions of some documents."""
    branching = BranchSampler(sampler or Sampler(), TokenChoice(branches), every=every)
    return branched_transitions(
        study.model, study.documents, numbers, [SITE], branching, origin, own=own, seed=0
    )
