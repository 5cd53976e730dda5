"""A family of noise is one class: fitting, saving and use of noise take it from there."""

import re
from pathlib import Path

import pytest
import torch

import sdelens
from sdelens import interfaces, registry
from sdelens.errors import BrokenPlugin, UnknownName, UsageError
from sdelens.laws.constant_noise import ConstantNoise, NoiseSpec
from sdelens.laws.noise_families.family import MEMBERS, NoiseFamily
from sdelens.laws.scale import FullScale
from sdelens.protocols import Site
from sdelens.registering import load_file
from sdelens.runs.job import Job
from sdelens.runs.manifest import manifest_of
from sdelens.runs.saved_fit import read_fit, write_fit
from sdelens.seeds import generator
from sdelens.states.recording import View
from sdelens.testing.small_model import small_model

DIM, DOCS = 4, Path(__file__).parents[3] / "docs"
ROOT = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0, 0, 2.0, 0], [0.5, 0, -1, 1]])
"""The first two coordinates are correlated, and the last with one of each pair."""


@pytest.fixture(autouse=True)
def blocks(tmp_path):
    """The family of the documentation, registered for the length of a test."""
    before, page = registry.registered(), (DOCS / "plugins.md").read_text()
    example = re.search(r"<!-- example: blocks.py -->\n```python\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "blocks.py").write_text(example)
    (plugin,) = load_file(tmp_path / "blocks.py")
    yield plugin.load()
    registry.forget(before)


def states(paths=400, length=20, seed=0):
    noise = torch.randn(length, paths, DIM, generator=generator(seed))
    found = [noise[0]]
    for step in noise[1:]:
        found.append(0.5 * found[-1] + step @ ROOT.mT)
    return torch.stack(found, 1)


def covariance_of(fitted):
    law = fitted.law
    return law.noise(torch.zeros(()), torch.zeros(DIM)).covariance()


def fit(noise, probe="linear", **settings):
    return sdelens.fit(states(), probe=probe, noise=noise, basis="raw", seed=0, **settings)


def test_a_registered_family_is_fitted_scored_saved_and_loaded(tmp_path):
    truth, block = ROOT @ ROOT.mT, torch.arange(DIM) // 2
    fitted = fit("blocks:2")
    found = covariance_of(fitted)
    # of about 6,000 transitions; entries of a covariance are off by up to sqrt(2/n) of its size
    wanted = truth.where(block[:, None] == block, 0.0)
    assert torch.allclose(found, wanted, atol=5 * 4 * (2 / 6000) ** 0.5)
    assert (found[:2, 2:] == 0).all()
    # the baselines have noise of the same family: the linear one is the fit
    assert abs(fitted.record.scores["baselines"]["linear"]["gain_of_fit"]) < 1e-6
    write_fit(tmp_path, View(Site("block", 0)), fitted, {})
    again = read_fit(tmp_path, lambda name: registry.plugin("probe", name).load())
    assert torch.equal(covariance_of(again), found)


def test_correlations_within_blocks_gain_over_none_and_lose_to_all():
    names = ("full", "blocks:2", "diagonal")
    rows = [fit(name).record.scores["baselines"]["linear"] for name in names]
    full, blocks, diagonal = (row["nll_per_dim"] for row in rows)
    # of correlations R log likelihood gains -log det R / 2d: 0.23 for all, 0.20 within blocks
    assert full < blocks - 0.02
    assert blocks < diagonal - 0.1


@pytest.mark.parametrize("probe", ["constant", "diagonal", "low-rank-linear"])
def test_other_probes_in_closed_form_take_it_too(probe):
    assert (covariance_of(fit("blocks:2", probe))[:2, 2:] == 0).all()


def test_it_carries_the_correlations_of_noise_with_deviations_at_each_time():
    noise = fit("blocks:2@time").law.noise
    covariance = noise(torch.tensor(3.0), torch.zeros(DIM)).covariance()
    assert (covariance[:2, 2:] == 0).all()
    assert covariance[0, 1] > 0.5


def test_training_by_gradients_takes_free_parameters():
    with pytest.raises(UsageError, match="blocks:K cannot be trained by gradients"):
        fit("blocks:2", "neural", width=4, epochs=1, least_steps=1)


@pytest.mark.parametrize("setting", ["blocks", "blocks:", "blocks:x", "blocks:0"])
def test_a_setting_that_the_family_does_not_understand_is_refused(setting):
    with pytest.raises(UsageError, match="noise must be of the form blocks:K, got 'blocks"):
        NoiseSpec(setting)


def test_an_unknown_family_lists_the_known_ones_and_the_option_for_files():
    said = "No noise family named 'block'.*'blocks'.*Known: blocks, correlated:K, .*--plugin FILE"
    with pytest.raises(UnknownName, match=said):
        NoiseSpec("block:2")


@pytest.mark.parametrize("name", MEMBERS)
def test_a_class_that_lacks_a_member_is_refused_with_its_name(blocks, name):
    own = {member: getattr(blocks, member) for member in MEMBERS if member != name}
    sdelens.noise("bare")(type("Bare", (), own))
    said = rf"^the noise 'bare' of .* has no {name}: define it in a subclass of .*NoiseFamily$"
    for loads in (lambda: NoiseSpec("bare:2"), lambda: interfaces.load("noise", "bare")):
        with pytest.raises(BrokenPlugin, match=said):
            loads()


def test_an_abstract_family_is_refused():
    sdelens.noise("bare")(type("Bare", (NoiseFamily,), {"usage": "bare", "scale": FullScale}))
    with pytest.raises(BrokenPlugin, match=r"'bare' of .* has no estimate"):
        NoiseSpec("bare")


def test_an_error_of_parse_names_the_family(blocks):
    class Strict(blocks):
        @classmethod
        def parse(cls, argument):
            return cls(int(argument))

    sdelens.noise("strict")(Strict)
    with pytest.raises(BrokenPlugin, match=r"parse\(\) of the noise family 'strict' failed"):
        NoiseSpec("strict:x")


@pytest.mark.parametrize("name", ["scalar", "diagonal", "correlated:2", "full"])
def test_built_in_noise_is_restored_bit_for_bit(name):
    covariance = ROOT.double() @ ROOT.double().mT
    noise = ConstantNoise.of(NoiseSpec(name), covariance)
    again = ConstantNoise.restore(NoiseSpec(name), noise.tensors())
    assert type(again.scale) is type(noise.scale)
    assert torch.equal(again.scale.covariance(), noise.scale.covariance())


@pytest.mark.parametrize("name", ["correlated:2", "full"])
def test_free_parameters_are_those_of_the_correlation(name):
    noise = ConstantNoise.of(NoiseSpec(name), ROOT.double() @ ROOT.double().mT)
    std = noise.scale.variance().sqrt()
    family = NoiseSpec(name).family(DIM)
    found = family.correlation(family.free(noise.scale, std)).covariance()
    assert torch.allclose(found, noise.scale.covariance() / std[:, None] / std, atol=1e-5)


def test_a_built_in_name_is_not_taken_by_a_plugin(blocks):
    sdelens.noise("full")(blocks)
    with pytest.raises(UsageError, match="'full' is a built-in noise family"):
        NoiseSpec("full")


def test_the_manifest_records_a_family_that_is_not_built_in():
    for noise, recorded in {"blocks:2@time": ["blocks"], "full": [], None: []}.items():
        job = Job(probe="linear", probe_settings={"noise": noise})
        rows = [p for p in manifest_of(job, small_model(), ())["plugins"] if p["kind"] == "noise"]
        assert [row["name"] for row in rows] == recorded
        assert all(row["sha256"] and row["distribution"] == "blocks.py" for row in rows)
