"""A study of a language model small enough to be made by a test."""

import torch

from sdelens.estimation.additive import Terms, second_moment
from sdelens.estimation.noise import ConstantNoise, NoiseSpec
from sdelens.estimation.selection import selected
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.law import Noise
from sdelens.laws.scale import DiagonalScale
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.paths.moments import Moments, times_of
from sdelens.states.capturing import record
from sdelens.states.generation import sample
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler


class Loud(Noise):
    """Noise that grows with the state's length."""

    def __init__(self, scale=0.3):
        self.scale = scale

    def __call__(self, t, x):
        size = self.scale * (1 + x.square().mean(-1, keepdim=True)).sqrt()
        return DiagonalScale(size.expand(x.shape))

    def tensors(self):
        return {}


class Closed:
    """A model whose adapter reads no attention and runs without gradients."""

    library, device = "", torch.device("cpu")

    def hooked(self):
        return False

    def __init__(self, model):
        self.model, self.card = model, model.card
        self.encode, self.decode, self.untrained = model.encode, model.decode, model.untrained

    def run(self, tokens, *, read=(), edit=None, past=None, keep=False, logits=False):
        if any(site.kind == "attention" for site in read):
            raise NotImplementedError
        with torch.no_grad():
            return self.model.run(tokens, read=read, edit=edit, logits=logits)


def small_bridge(folder):
    """GPT-2 of three blocks, 16 wide, with drawn weights."""
    from sdelens_plugins.models.bridge import BridgeModel
    from tests.small import small_model

    return BridgeModel.load(str(small_model(folder)), device="cpu")


def linear_study(captured, texts, site, sides, *, basis, model, prompt=None, noise=None):
    """A linear fit to one site of recorded states, the documents divided as `sides` says."""
    view = View(site)
    train, validation, test = (captured.view(view).select(list(side)) for side in sides)
    own = fit_basis(BasisSpec(basis), train)
    latent, held = own.view(train), own.view(validation)
    times = times_of(latent)
    moments = Moments.of(latent, times)
    mean = selected(moments, Moments.of(held, times), Terms(state=True, position=True))
    constant = ConstantNoise.of(NoiseSpec(), second_moment(mean, moments))
    law = KernelSDE(mean.to(torch.float32), noise or constant)
    fitted = Fitted(law, own, Record("linear", {}, "discrete", 1.0, 0), captured.origin)
    return Study("s", {view: Viewed(fitted, train, validation, test)}, texts, model, prompt)


def spoken_study(model, site, *, basis="standard", prompt=None, noise=None, documents=20):
    """A linear fit to the states of texts that the model wrote."""
    sampler = Sampler(ignore_eos=True)
    texts = Documents.of(sample(model, sampler, documents=documents, length=24, seed=0))
    captured = record(model, texts, [site], skip_first=1)
    cut = documents // 2
    sides = (range(cut), range(cut, cut + 3), range(cut + 3, documents))
    return linear_study(
        captured, texts, site, sides, basis=basis, model=model, prompt=prompt, noise=noise
    )
