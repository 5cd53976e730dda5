"""Trajectory and losses on data whose law is known."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.noise import ConstantNoise
from sdelens.laws.law import Mean
from sdelens.laws.scale import FullScale
from sdelens.laws.sde import KernelSDE
from sdelens.paths.basis import fit_basis
from sdelens.paths.basis_spec import BasisSpec
from sdelens.paths.documents import Documents
from sdelens.paths.trajectories import Trajectories
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.seeds import generator
from sdelens.states.capturing import record, sites_of
from sdelens.states.generation import sample
from sdelens.states.recording import View
from sdelens.states.sampling import Sampler
from sdelens_plugins.analyzers.losses import LossesAnalyzer
from sdelens_plugins.analyzers.trajectory.analyzer import TrajectoryAnalyzer
from sdelens_plugins.analyzers.trajectory.figures import OVERLAID
from tests.asked import value
from tests.plugins.analyzers.studied import around, epochs, kernel, numbers_in
from tests.spoken import linear_study


@pytest.fixture(scope="module")
def recording(stories):
    """Two sites of texts that the model wrote, and which of them are held out."""
    texts = Documents.of(sample(stories, Sampler(), documents=40, length=48, seed=0))
    return record(stories, texts, sites_of("embed,2", stories), skip_first=1), texts


def studied(recording, model, site, prompt=None):
    """A linear fit to one site of real states."""
    captured, texts = recording
    sides = (range(30), range(30, 35), range(35, 40))
    return linear_study(captured, texts, site, sides, basis="pca:16", model=model, prompt=prompt)


@pytest.fixture(scope="module")
def study(recording, stories):
    """A linear fit to block 2 of a real model."""
    return studied(recording, stories, Site("block", 2))


def test_both_fulfil_the_analyzer_protocol():
    for analyzer in (LossesAnalyzer(), TrajectoryAnalyzer()):
        assert isinstance(analyzer, Analyzer)
        assert analyzer.scope == "view"
    assert "sde" in TrajectoryAnalyzer.needs


def test_the_random_walk_explains_no_increment_and_stays_where_it_started(known):
    study = around(kernel(torch.eye(4), 1e-5), *known)
    finding = TrajectoryAnalyzer().analyze(study, seed=0)
    assert value(finding, "one-step increment R²").value == pytest.approx(0, abs=1e-6)
    for steps in (1, 5, 10, 20):
        ahead = f"distance of free runs' mean, {steps} step"
        assert value(finding, ahead).value == pytest.approx(1, abs=1e-4)


def test_the_true_law_is_calibrated_and_a_narrow_one_is_not(known):
    shares = {}
    for std in (1.0, 0.5):
        study = around(kernel(0.9 * torch.eye(4), std), *known)
        finding = TrajectoryAnalyzer().analyze(study, seed=0)
        shares[std] = value(finding, "inside the 90% band, 64 documents")
    assert abs(shares[1.0].value - 0.9) < 4 * shares[1.0].stderr
    assert shares[0.5].value < 0.9 - 8 * shares[0.5].stderr


def test_the_headline_says_when_bands_are_too_narrow_or_too_wide(known):
    findings = {}
    for std in (1.0, 0.5, 2.0):
        law = kernel(0.9 * torch.eye(4), std)
        study = around(law, *known, settings={"noise": "diagonal"})
        findings[std] = TrajectoryAnalyzer().analyze(study, seed=0)
    assert "bands contain 9" in findings[1.0].headline
    assert "correlated" not in findings[1.0].reading
    assert "too narrow" in findings[0.5].headline
    assert "diagonal noise" in findings[0.5].reading
    assert "probe.noise=correlated:2" in findings[0.5].reading
    assert "too wide" in findings[2.0].headline
    assert len(numbers_in(findings[2.0].headline)) <= 2


def test_bands_of_correlated_noise_that_are_too_narrow_have_another_cause(known):
    noise = ConstantNoise(FullScale(0.5 * torch.eye(4)))
    law = replace(kernel(0.9 * torch.eye(4), 0.5), noise=noise, diagonal=False)
    study = around(law, *known, settings={"noise": "correlated:2"})
    finding = TrajectoryAnalyzer().analyze(study, seed=0)
    assert "too narrow" in finding.headline
    assert "diagonal noise" not in finding.reading
    assert "--set" not in finding.reading


def test_from_one_document_bands_are_not_judged(known):
    train, validation, test = known
    law = kernel(0.9 * torch.eye(4), 0.1)
    finding = TrajectoryAnalyzer().analyze(
        around(law, train, validation, test.select([0])), seed=0
    )
    assert "too narrow" not in finding.headline
    assert "bands contain " in finding.headline


def test_captions_say_which_positions_are_shown(study):
    finding = TrajectoryAnalyzer(tokens=12).analyze(study, seed=0)
    first, last = (int(finding.arrays["positions"][k]) for k in (0, -1))
    for figure in finding.figures[:3]:
        assert figure.caption.startswith("Test document ")
        assert f", positions {first} to {last}:" in figure.caption
        assert figure.caption.count("the first ") <= 1


def test_free_runs_approach_the_known_distance(known):
    finding = TrajectoryAnalyzer(paths=256).analyze(
        around(kernel(0.9 * torch.eye(4), 1.0), *known), seed=0
    )
    for steps in (1, 5, 10, 20):
        decay = 0.9**steps
        # both distances are of Gaussian vectors, so that their ratio is that of deviations
        above = 1 - decay**2
        expected = (above / (above + (1 - decay) ** 2)) ** 0.5
        found = value(finding, f"distance of free runs' mean, {steps} step")
        assert abs(found.value - expected) < 4 * found.stderr
        # the same law, fitted to 100 paths of four coordinates
        linear = value(finding, f"distance of the linear law's mean, {steps} step")
        assert abs(linear.value - expected) < 4 * linear.stderr
        lead = value(finding, f"linear law's distance minus the fit's, {steps} step")
        assert abs(lead.value) < 4 * lead.stderr + 0.02


class Square(Mean):
    """X goes to X² - 1, of which a linear law knows nothing if X is normal."""

    def __call__(self, t, x, token):
        return x.square() - 1

    def tensors(self):
        return {}


def test_a_lead_over_the_linear_law_is_as_large_as_is_known():
    law, sides = KernelSDE(Square(), ConstantNoise.independent(torch.full((2,), 0.1))), []
    for count in (4000, 500, 400):
        x, noise = torch.randn(2, count, 2, generator=generator(0, "square", count))
        following = x**2 - 1 + noise / 10
        sides.append(Trajectories.from_states(torch.stack([x, following], 1), 1.0))
    finding = TrajectoryAnalyzer(documents=400).analyze(around(law, *sides), seed=0)
    # the linear law's mean is 0; the fit is off by the noise alone
    walk, linear, fit = (
        float(away.norm(dim=-1).mean()) for away in (following - x, following, noise / 10)
    )
    for name, expected, slack in (
        ("distance of the linear law's mean", linear / walk, 0.03),
        # a mean of 64 draws, whose noise is taken out of squares, and not quite of lengths
        ("distance of free runs' mean", fit / walk, 0.005),
        ("linear law's distance minus the fit's", (linear - fit) / walk, 0.03),
    ):
        found = value(finding, f"{name}, 1 step")
        assert found.value == pytest.approx(expected, abs=slack)
        assert 0 < found.stderr < 0.05


def test_the_random_walks_linear_law_is_the_walk(known):
    steps = torch.randn(25, 200, 4, generator=generator(0, "walk")).cumsum(0)
    paths = Trajectories.from_states(steps.transpose(0, 1), 1.0)
    sides = (
        paths.select(range(140)),
        paths.select(range(140, 160)),
        paths.select(range(160, 200)),
    )
    finding = TrajectoryAnalyzer().analyze(around(kernel(torch.eye(4), 1.0), *sides), seed=0)
    for ahead in (1, 5, 10, 20):
        found = value(finding, f"distance of the linear law's mean, {ahead} step")
        # a regression on 140 paths has a slope that is a little below 1
        assert abs(found.value - 1) < 4 * found.stderr + 0.05


def test_paths_that_start_late_are_predicted_from_their_own_time(known):
    train, validation, test = known
    starts = torch.arange(64) % 7
    late = replace(test, mask=torch.arange(30) >= starts[:, None])
    study = around(kernel(0.9 * torch.eye(4), 1.0), train, validation, late)
    finding = TrajectoryAnalyzer().analyze(study, seed=0)
    inside = value(finding, "inside the 90% band, 64 documents")
    assert abs(inside.value - 0.9) < 4 * inside.stderr
    assert finding.arrays["positions"][0] == 0


def test_axes_show_the_variance_of_a_plain_principal_component_analysis(study):
    finding = TrajectoryAnalyzer().analyze(study, seed=0)
    _, viewed = study.single
    states = torch.cat([block.states[block.mask] for block in viewed.train]).double()
    shares = torch.linalg.eigvalsh(torch.corrcoef(states.mT)).flip(0) / states.shape[1]
    assert value(finding, "variance explained by PC 1").value == pytest.approx(
        float(shares[0]), rel=1e-4
    )
    panel = finding.figures[0].panels[0]
    assert panel.x == f"PC 1 ({float(shares[0]):.0%} of variance)"
    assert panel.y == f"PC 2 ({float(shares[1]):.0%} of variance)"


def test_predictions_are_the_transition_means_from_the_actual_states(study):
    finding = TrajectoryAnalyzer(tokens=12).analyze(study, seed=0)
    _, viewed = study.single
    block = next(iter(viewed.test))
    long = int(block.mask.sum(1).argmax())
    x, t = block.states[long, :12], block.times[long, :12]
    expected = viewed.fitted.transition(t[:-1], x[:-1]).mean
    plane = fit_basis(BasisSpec("pca:2"), viewed.train)
    assert torch.allclose(
        finding.arrays["predicted"], plane.encode(t[1:], expected), rtol=1e-3, atol=1e-3
    )
    assert torch.allclose(finding.arrays["actual"], plane.encode(t, x), rtol=1e-3, atol=1e-3)
    assert finding.arrays["positions"].tolist() == t.tolist()


def test_one_step_r2_on_real_states_is_above_the_random_walks(study):
    finding = TrajectoryAnalyzer().analyze(study, seed=0)
    assert 0.2 < value(finding, "one-step increment R²").value < 1
    assert value(finding, "distance of free runs' mean, 1 step").value < 1


@pytest.mark.parametrize("site", [Site("embed"), Site("block", 2)], ids=str)
def test_a_prompt_is_shown_with_its_words(recording, stories, site):
    prompt = "Once upon a time, there was a little girl named Lily."
    finding = TrajectoryAnalyzer().analyze(studied(recording, stories, site, prompt), seed=0)
    overlay = finding.figures[1]
    (words,) = [layer for layer in overlay.panels[0].layers if layer.mark == "words"]
    assert prompt.startswith("".join(words.words).strip())
    assert len(words.words) == OVERLAID
    assert finding.prompt == prompt
    assert finding.view == str(View(site))


def test_a_prompt_of_two_states_is_enough_and_one_is_not(recording, stories):
    short = studied(recording, stories, Site("block", 2), prompt="Hi")
    assert len(stories.encode("Hi")) == 2
    finding = TrajectoryAnalyzer().analyze(short, seed=0)
    assert finding.arrays["actual"].shape == (2, 2)
    assert all(tensor.isfinite().all() for tensor in finding.arrays.values())
    with pytest.raises(UsageError, match="longer prompt"):
        TrajectoryAnalyzer().analyze(replace(short, prompt="a"), seed=0)


def test_a_prompt_without_a_model_is_refused(study):
    with pytest.raises(UsageError, match="model"):
        TrajectoryAnalyzer().analyze(replace(study, model=None, prompt="Hi"), seed=0)


def test_without_a_model_tokens_are_numbers(study):
    finding = TrajectoryAnalyzer().analyze(replace(study, model=None), seed=0)
    (words,) = [w for w in finding.figures[1].panels[0].layers if w.mark == "words"]
    assert words.words[0] == f"#{int(finding.arrays['tokens'][0])}"


def test_a_finding_depends_on_its_seed_alone(study):
    before = torch.get_rng_state()
    first, again, other = (
        TrajectoryAnalyzer().analyze(study, seed=seed).arrays for seed in (0, 0, 1)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name].nan_to_num(), again[name].nan_to_num()) for name in first)
    assert not torch.equal(first["free.low"], other["free.low"])


def test_findings_are_saved_and_loaded_whole(study, known, tmp_path):
    history = epochs([2.0, 1.5, 1.4])
    losses = around(kernel(torch.eye(4), 1.0), *known, history=history)
    for k, finding in enumerate(
        (TrajectoryAnalyzer().analyze(study, seed=0), LossesAnalyzer().analyze(losses, seed=0))
    ):
        save_finding(finding, tmp_path / str(k))
        loaded = load_finding(tmp_path / str(k))
        assert loaded.headline == finding.headline
        assert loaded.estimates == finding.estimates
        assert loaded.arrays.keys() == finding.arrays.keys()
