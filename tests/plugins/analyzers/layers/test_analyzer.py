"""What the analyzer of layers says of systems that are known, and of a real model."""

from dataclasses import replace

import pytest
import torch

import sdelens
from sdelens.errors import UsageError
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.study import Study, Viewed
from sdelens.laws.law import Kernel
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.capturing import record, sites_of
from sdelens.states.generation import sample
from sdelens.states.recording import DEPTH, View
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.common.observed_path import first_paths, observed_path, words_of
from sdelens_plugins.analyzers.goodness_of_fit.null_data import NullData
from sdelens_plugins.analyzers.layers.analyzer import LayersAnalyzer
from sdelens_plugins.analyzers.trajectory.analyzer import TrajectoryAnalyzer
from sdelens_plugins.probes.linear import LinearProbe
from tests.asked import value
from tests.plugins.analyzers.studied import numbers_in

DECAYS = {View(Site("embed")): 0.3, View(Site("block", 0)): 0.6, View(Site("block", 1)): 0.9}
TOKENS = 20


def autoregression(decay, paths=200, steps=40, dim=4):
    noise = torch.randn(steps, paths, dim, generator=generator(0, decay))
    states = [noise[0] / (1 - decay**2) ** 0.5]
    for step in noise[1:]:
        states.append(decay * states[-1] + step)
    return Trajectories.from_states(torch.stack(states, dim=1), 1.0)


def sides(paths):
    """Training, validation and test documents."""
    return (paths.select(list(range(*ends))) for ends in ((0, 140), (140, 160), (160, 200)))


@pytest.fixture(scope="module")
def study():
    """Three layers whose states decay by known factors."""
    views = {}
    for view, decay in DECAYS.items():
        paths = autoregression(decay)
        views[view] = Viewed(sdelens.fit(paths, probe="linear"), *sides(paths))
    return Study("s", views, Documents.of([Document((0, 1))] * 200))


@pytest.fixture(scope="module")
def finding(study):
    return LayersAnalyzer().analyze(study, seed=0)


@pytest.fixture(scope="module")
def through():
    """Paths through 8 blocks: variance grows by e^0.2 a block, nothing turns, x grows by 1.2."""
    noise = torch.randn(9, 200 * TOKENS, 4, generator=generator(7))
    states = [noise[0]]
    for depth, step in enumerate(noise[1:], start=1):
        states.append(1.2 * states[-1] + torch.e ** (0.1 * depth) * step)
    paths = Trajectories.from_states(torch.stack(states, dim=1), 1.0)
    paths = replace(paths, document=torch.arange(200).repeat_interleave(TOKENS))
    train, validation, test = sides(paths)
    basis = fit_basis(BasisSpec("standard"), train)
    made = LinearProbe(noise="diagonal@time")
    fit = made.fit(basis.view(train), basis.view(validation), seed=0, watch=lambda _: None)
    assert isinstance(fit.law, KernelSDE)
    fitted = Fitted(fit.law, basis, Record("linear", {}, "discrete", 1.0, 0))
    viewed = Viewed(fitted, train, validation, test)
    return Study("s", {DEPTH: viewed}, Documents.of([Document((0, 1))] * 200))


def test_it_is_an_analyzer_of_a_whole_run():
    assert isinstance(LayersAnalyzer(), Analyzer)
    assert LayersAnalyzer.scope == "run"


def test_the_spectral_radius_of_each_layer_is_its_decay(finding):
    for name, decay in zip(("embed", "L00", "L01"), DECAYS.values(), strict=True):
        found = value(finding, f"{name}: spectral radius")
        # eigenvalues of an estimated matrix spread around the truth: the largest is above it
        bias = 2 * ((1 - decay**2) / (140 * 40)) ** 0.5
        assert abs(found.value - decay) < 4 * found.stderr + bias


def test_layers_stand_in_order_of_depth_with_their_intervals(finding):
    assert finding.view == "embed-L01"
    assert finding.arrays["layer"].tolist() == [-1, 0, 1]
    for name in ("gain", "r2", "noise", "residual", "radius"):
        low, high = (finding.arrays[f"{name}.{end}"] for end in ("low", "high"))
        assert (low <= finding.arrays[f"{name}.value"]).all()
        assert (finding.arrays[f"{name}.value"] <= high).all()
    assert "layer (-1: embedding)" in {p.x for f in finding.figures for p in f.panels}


def test_noise_is_in_deviations_of_the_states_and_agrees_with_the_residuals(finding):
    truth = torch.tensor([(1 - decay**2) ** 0.5 for decay in DECAYS.values()])
    found, stderr = (finding.arrays[f"residual.{part}"] for part in ("value", "stderr"))
    assert ((found - truth).abs() < 4 * stderr + 0.01).all()
    assert ((finding.arrays["noise.value"] - truth).abs() < 0.02).all()


def test_gains_are_those_recorded_with_the_fits(finding, study):
    for row, viewed in enumerate(study.views.values()):
        rows = viewed.fitted.record.scores["baselines"]
        gains = [rows[n]["gain_of_fit"] for n in ("random_walk", "constant", "iid_position")]
        assert float(finding.arrays["gain.value"][row]) == pytest.approx(min(gains))


def test_the_map_shows_the_steps_of_one_document_in_every_layer(finding, study):
    nats = finding.arrays["map.nats"]
    assert nats.shape == (3, 20)
    view = list(study.views)[1]
    fitted, test = study.views[view].fitted, study.views[view].test
    expected = -fitted.log_prob(test)[0, :20] / 4
    shift = (fitted.basis.log_volume_standard() - fitted.basis.log_volume()) / 4
    assert torch.allclose(nats[1], (expected + shift).double(), atol=1e-5)


def test_the_exponent_of_growing_noise_is_recovered_and_the_law_holds(through):
    finding = LayersAnalyzer().analyze(through, seed=0)
    found = value(finding, "exponent of the exponential law")
    assert abs(found.value - 0.2) < 4 * found.stderr
    assert "the exponential law holds" in finding.headline
    assert len(numbers_in(finding.headline)) <= 2
    assert "does not" not in finding.headline
    for depth in (1, 5, 8):
        stretch = value(finding, f"depth {depth}: stretch")
        assert abs(stretch.value - 1.2) < 5 * stretch.stderr
    own = finding.arrays["fit_r2.value"]
    assert (finding.arrays["r2.value"] - own).abs().max() < 0.02  # the run's fit is true too
    assert finding.arrays["map.nats"].shape == (8, 20)
    assert finding.view == "depth"


def test_equal_seeds_give_equal_findings_that_can_be_saved(through, tmp_path):
    one, other = (LayersAnalyzer().analyze(through, seed=3) for _ in range(2))
    assert one.headline == other.headline
    assert len(numbers_in(one.headline)) <= 2
    assert all(torch.equal(one.arrays[name], other.arrays[name]) for name in one.arrays)
    save_finding(one, tmp_path)
    again = load_finding(tmp_path)
    assert again.headline == one.headline
    assert torch.equal(again.arrays["factors"], one.arrays["factors"])


def test_one_layer_has_nothing_to_be_compared_with(study):
    with pytest.raises(UsageError, match="this run has embed only: fit with --layer all"):
        LayersAnalyzer().analyze(study.only(View(Site("embed"))), seed=0)


def test_too_few_blocks_have_no_law_of_growth(through):
    viewed = through.views[DEPTH]

    def shallow(paths):
        parts = (paths.states[:, :3], paths.mask[:, :3], paths.times[:, :3], paths.tokens[:, :3])
        return Trajectories(*parts, paths.document)

    cut = replace(viewed, train=shallow(viewed.train), test=shallow(viewed.test))
    with pytest.raises(UsageError, match="three blocks or more, but this model has 2"):
        LayersAnalyzer().analyze(replace(through, views={DEPTH: cut}), seed=0)


def test_settings_out_of_range_are_refused():
    with pytest.raises(UsageError, match="tokens must be at least 1"):
        LayersAnalyzer(tokens=0)
    with pytest.raises(UsageError, match="ridge must be 0 or more"):
        LayersAnalyzer(ridge=-1.0)


# --- a real model


@pytest.fixture(scope="module")
def recording(char_gpt2):
    texts = Documents.of(sample(char_gpt2, Sampler(), documents=40, length=24, seed=0))
    return record(char_gpt2, texts, sites_of("embed,all", char_gpt2), skip_first=1), texts


def real(recording, model, views, prompt):
    captured, texts = recording
    found = {}
    for view in views:
        paths = captured.view(view)
        fitted = sdelens.fit(paths.select(range(30)), probe="linear") if view != DEPTH else None
        parts = [paths.select(range(*ends)) for ends in ((0, 30), (30, 35), (35, 40))]
        if fitted is None:
            basis = fit_basis(BasisSpec("standard"), parts[0])
            law = (
                LinearProbe()
                .fit(basis.view(parts[0]), basis.view(parts[1]), seed=0, watch=lambda _: None)
                .law
            )
            fitted = Fitted(law, basis, Record("linear", {}, "discrete", 1.0, 0))
        found[view] = Viewed(replace(fitted, origin=captured.origin), *parts)
    return Study("s", found, texts, model, prompt)


@pytest.mark.parametrize("axis", ["token", "layer"])
@pytest.mark.parametrize("prompt", [None, "To be or"])
def test_a_prompt_is_mapped_with_its_words_and_without_one_a_test_document(
    recording, char_gpt2, axis, prompt
):
    views = (DEPTH,) if axis == "layer" else (View(Site("block", 0)), View(Site("block", 3)))
    finding = LayersAnalyzer(tokens=6).analyze(real(recording, char_gpt2, views, prompt), seed=0)
    heat = finding.figures[-1].panels[0].layers[0]
    rows = 4 if axis == "layer" else 2
    assert heat.values["z"].shape == (rows, 6)
    assert heat.values["z"].isfinite().all()
    if prompt:
        assert finding.prompt == prompt
        assert finding.figures[-1].caption.startswith("The prompt, 6 tokens")
        assert "".join(heat.words) in char_gpt2_text(char_gpt2, prompt)


def char_gpt2_text(model, prompt):
    return "".join(model.decode(model.encode(prompt)))


def test_a_prompt_without_a_step_is_a_clear_error(recording, char_gpt2):
    study = real(recording, char_gpt2, (View(Site("block", 0)), View(Site("block", 3))), "T")
    with pytest.raises(UsageError, match=r"the prompt 'T' must have at least 2 state\(s\)"):
        LayersAnalyzer().analyze(study, seed=0)


def test_a_prompt_without_its_model_is_a_clear_error(recording, char_gpt2):
    study = real(recording, None, (View(Site("block", 0)), View(Site("block", 3))), "To be")
    with pytest.raises(UsageError, match="needs the language model"):
        LayersAnalyzer().analyze(study, seed=0)


# --- other analyzers on paths through the depth


def test_a_trajectory_through_the_depth_is_that_of_the_last_token(recording, char_gpt2):
    study = real(recording, char_gpt2, (DEPTH,), "To be or")
    path = observed_path(study, tokens=40)
    assert path.times.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert words_of(study, path.tokens) == ("r",) * 5
    assert path.span == "The last token of the prompt, depths 0 to 4"
    finding = TrajectoryAnalyzer(documents=4, paths=8).analyze(study, seed=0)
    assert finding.figures[0].caption.startswith("The last token of the prompt, depths 0 to 4")


def test_a_document_opens_with_one_of_its_paths_only(recording):
    captured, texts = recording
    starts = first_paths(captured.view(DEPTH), documents=7, states=3)
    assert [path.name for path in starts] == [f"test document {i}" for i in range(7)]
    assert [int(path.tokens[0]) for path in starts] == [d.tokens[1] for d in list(texts)[:7]]


def test_an_untrained_model_is_a_null_through_the_depth_too(recording, char_gpt2):
    study = real(recording, char_gpt2, (DEPTH,), None)
    found = NullData.of(study, torch.arange(40), documents=12, seed=0)
    assert list(found.gains) == [
        "these data",
        "states permuted in time",
        "tokens permuted",
        "untrained model",
    ]
    assert all(gain.value.isfinite() for gain in found.gains.values())


def test_a_law_that_is_no_sde_has_no_radius_and_the_rest_all_the_same(study):
    tokens = {view: replace(v, fitted=without_sde(v.fitted)) for view, v in study.views.items()}
    finding = LayersAnalyzer().analyze(replace(study, views=tokens), seed=0)
    assert not [e for e in finding.estimates if "radius" in e.name]
    assert [len(figure.panels) for figure in finding.figures] == [2, 1, 1]
    assert finding.arrays["r2.value"].isfinite().all()


def without_sde(fitted):
    """The same means and noise as a kernel that is not read as an SDE."""
    return replace(fitted, law=Kernel(fitted.law.mean, fitted.law.noise))
