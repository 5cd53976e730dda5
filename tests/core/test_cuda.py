"""Everything runs on CUDA unchanged; these run wherever there is a GPU."""

import pytest
import torch

from sdelens.branching.branch_sampler import BranchSampler
from sdelens.branching.prefixes import Prefixes
from sdelens.branching.token_choice import TokenChoice
from sdelens.models import language_model
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Site, ignore_epoch
from sdelens.states.generation import sample
from sdelens.states.sampling import Sampler
from sdelens_plugins.probes.linear import LinearProbe
from sdelens_plugins.probes.neural.probe import NeuralProbe

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def autoregression(paths: int) -> Trajectories:
    random = torch.Generator().manual_seed(0)
    states = torch.randn(paths, 40, 3, generator=random)
    for step in range(1, 40):
        states[:, step] += 0.8 * states[:, step - 1]
    return Trajectories.from_states(states, 1.0)


@pytest.mark.parametrize("probe", [LinearProbe(), NeuralProbe(width=32, least_steps=200)])
@pytest.mark.parametrize("noise", ["diagonal", "correlated:2"])
def test_a_fit_on_cuda_predicts_like_the_fit_on_the_cpu(probe, noise):
    probe = type(probe)(**{**vars(probe), "noise": noise})
    train, held = autoregression(60), autoregression(20)
    here = probe.fit(train, held, seed=0, watch=ignore_epoch).law
    there = probe.fit(train.to("cuda"), held.to("cuda"), seed=0, watch=ignore_epoch).law
    mean = there.predict(held.to("cuda")).mean.cpu()
    # float32 sums in another order, grown over 200 steps of training
    torch.testing.assert_close(mean, here.predict(held).mean, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_branches_on_cuda_share_the_cache_and_come_back_in_float32(dtype):
    model = language_model("tiny", device="cuda", dtype=dtype)
    texts = Documents.of(sample(model, Sampler(), documents=4, length=40, seed=0))
    branching = BranchSampler(Sampler(), TokenChoice())
    site = Site("block", 7)
    for text in branching(model, Prefixes.all_of(texts), [site], seed=0):
        assert text.cached
        for _, ahead in text.pieces():
            assert ahead[site].dtype == torch.float32
            assert ahead[site].device.type == "cpu"
