"""Readouts of fits whose drift is known."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.estimation.additive import AdditiveMean
from sdelens.language.patching import laws_of_variants
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.sde import KernelSDE, LinearSDE
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens.wording import visible
from sdelens_plugins.analyzers.readout.analyzer import ReadoutAnalyzer
from tests.asked import value
from tests.plugins.analyzers.studied import numbers_in
from tests.spoken import Loud, spoken_study

QUICK = ReadoutAnalyzer(tokens=6, random=8, documents=6)


def with_law(study, law):
    view, viewed = study.single
    return replace(study, views={view: replace(viewed, fitted=replace(viewed.fitted, law=law))})


def resting(latent):
    """A random walk: no drift."""
    blank = torch.empty(0, dtype=torch.long)
    zeros = torch.zeros(1, latent)
    mean = AdditiveMean(torch.eye(latent), torch.zeros(1), zeros, blank, zeros[:0])
    return KernelSDE(mean, ConstantNoise.independent(torch.full((latent,), 0.1)))


def test_it_is_an_analyzer_of_views():
    assert isinstance(QUICK, Analyzer)
    assert QUICK.needs == {"sde", "model"}
    assert QUICK.scope == "view"


def test_a_drift_of_zero_raises_no_word(study):
    finding = QUICK.analyze(with_law(study, resting(16)), seed=0)
    assert "raises no word" in finding.headline
    assert "not shown to be above" in finding.headline
    assert value(finding, "divergence by the drift, through the network").value < 1e-4
    (words,) = [s for s in finding.strips if s.name == "drift raises, no. 1, network"]
    assert set(words.tokens) == {"∅"}


def test_raised_and_lowered_words_have_one_scale_for_their_colours_and_no_line_breaks(study):
    strips = [s for s in QUICK.analyze(study, seed=0).strips if s.name.startswith("drift ")]
    for route in ("network", "unembedding"):
        sides = [strip for strip in strips if strip.name.endswith(route)]
        ((low, high),) = {strip.scale for strip in sides}
        assert low == -high < 0
        assert max(abs(value) for strip in sides for value in strip.values) <= high
        assert all(max(s.values) <= 0 for s in sides if "lowers" in s.name)
    assert not any("\n" in token for strip in strips for token in strip.tokens)


def test_a_drift_to_the_image_of_a_word_raises_that_word(model):
    study = spoken_study(model, Site("block", 2))
    view, viewed = study.single
    images = 9 * model.plain.model.get_output_embeddings().weight.detach()
    laws = torch.cat([*laws_of_variants(model, view.site, torch.zeros(1).long(), images)])
    own = laws.diagonal()
    word = int(own.where(laws.argmax(-1) == torch.arange(len(images)), -torch.inf).argmax())
    latent = viewed.fitted.basis.encode(torch.zeros(1), images[word][None])
    blank = torch.empty(0, dtype=torch.long)
    mean = AdditiveMean(torch.zeros(16, 16), torch.zeros(1), latent, blank, latent[:0])
    law = KernelSDE(mean, ConstantNoise.independent(torch.full((16,), 0.1)))
    finding = replace(QUICK, by="probability").analyze(with_law(study, law), seed=0)
    (words,) = [s for s in finding.strips if s.name == "drift raises, no. 1, unembedding"]
    assert set(words.tokens) == set(map(visible, model.decode([word])))
    rank = value(finding, "rank of drift among random directions, through the network")
    assert 0.5 + 3 * rank.stderr < rank.value <= 1


def test_random_drifts_rank_in_the_middle(study):
    view, viewed = study.single

    class Wandering(KernelSDE):
        """As long a push everywhere, in directions that nothing has chosen."""

        def _next(self, t, x):
            seeds = (x * 1e4).double().sin() * 1e4
            return x + (seeds - seeds.floor() - 0.5).to(x) * 0.3

    base = resting(16)
    law = Wandering(base.mean, base.noise)
    # the basis standardises: in residual coordinates the sphere is one only where it does nothing
    flat = replace(viewed.fitted.basis, encoder=torch.eye(16), decoder=torch.eye(16))
    fitted = replace(viewed.fitted, law=law, basis=flat)
    one = replace(study, views={view: replace(viewed, fitted=fitted)})
    finding = replace(QUICK, random=16, places=6).analyze(one, seed=0)
    rank = value(finding, "rank of drift among random directions, through the network")
    assert abs(rank.value - 0.5) < 4 * rank.stderr


def test_at_the_last_block_both_routes_agree(model):
    finding = QUICK.analyze(spoken_study(model, Site("block", 2)), seed=0)
    for name in ("kl", "largest"):
        network, lens = (finding.arrays[f"documents.{r}.{name}"] for r in ("network", "lens"))
        assert torch.allclose(network, lens, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("basis", ["standard", "pca:4"])
@pytest.mark.parametrize("noise", [None, Loud()], ids=["constant", "state-dependent"])
@pytest.mark.parametrize("site", [Site("embed"), Site("block", 0)], ids=str)
def test_a_short_prompt_is_read_with_any_basis_noise_and_layer(model, site, noise, basis):
    study = spoken_study(model, site, basis=basis, noise=noise, prompt="the cat sat")
    finding = QUICK.analyze(study, seed=0)
    assert finding.prompt == "the cat sat"
    assert "the prompt" in finding.headline
    assert len(numbers_in(finding.headline)) <= 2
    assert finding.arrays["network.kl"].isfinite().all()
    assert "the cat sat".endswith("".join(finding.strips[0].tokens))
    assert {f.name for f in finding.figures} >= {"words_network", "words_lens", "ranks"}


def test_the_words_of_each_token_are_noted_on_the_text(study):
    finding = QUICK.analyze(study, seed=0)
    text, raised, lowered = (
        finding.strips[0],
        *(
            next(s for s in finding.strips if s.name == f"drift {side}, no. 1, network")
            for side in ("raises", "lowers")
        ),
    )
    for note, up, down in zip(text.notes, raised.tokens, lowered.tokens, strict=True):
        first, second = note.split("; lowers ")
        assert first.startswith(f"raises “{up}”")
        assert second.startswith(f"“{down}”")


def test_one_token_is_enough(study):
    finding = QUICK.analyze(replace(study, prompt="a"), seed=0)
    assert len(finding.strips[0].tokens) == 1
    assert finding.arrays["network.kl"].isfinite().all()


def test_a_linear_sde_is_pushed_by_its_expected_step(study):
    step = 0.5 * torch.eye(16)
    law = LinearSDE.from_step(step, torch.zeros(16), 0.1 * torch.eye(16), 1.0)
    finding = QUICK.analyze(with_law(study, law), seed=0)
    _, viewed = study.single
    # half of the way to the mean, whatever the rate of the linear SDE
    states = torch.cat([block.states[block.mask] for block in viewed.test])
    away = (states - viewed.fitted.basis.means).norm(dim=-1)
    length = value(finding, "length of the drift")
    assert abs(length.value - 0.5 * float(away.mean())) < 4 * length.stderr


def test_words_may_be_ranked_by_probability(study):
    finding = replace(QUICK, by="probability").analyze(study, seed=0)
    assert finding.arrays["network.raised_by"].abs().max() <= 1
    assert finding.strips[1].unit == "probability"


def test_from_one_document_nothing_is_judged(study):
    view, viewed = study.single
    one = replace(viewed, test=viewed.test.select([13]))
    finding = QUICK.analyze(replace(study, views={view: one}), seed=0)
    assert "cannot be judged" in finding.headline
    assert all(e.stderr is None for e in finding.estimates)


def test_it_depends_on_its_seed_alone_and_is_saved_whole(study, tmp_path):
    before = torch.get_rng_state()
    first, again, other = (QUICK.analyze(study, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    same, changed = "documents.network.kl", slice(6, None)
    assert torch.equal(first.arrays[same], again.arrays[same])
    assert not torch.equal(first.arrays[same][:, changed], other.arrays[same][:, changed])
    save_finding(first, tmp_path / "f")
    assert load_finding(tmp_path / "f").strips == first.strips


def test_invalid_settings_are_refused(study):
    with pytest.raises(UsageError, match="random must be at least 1"):
        ReadoutAnalyzer(random=0)
    with pytest.raises(UsageError, match="logit or probability"):
        ReadoutAnalyzer(by="rank")
    with pytest.raises(UsageError, match="needs the language model"):
        QUICK.analyze(replace(study, model=None), seed=0)
    with pytest.raises(UsageError, match="longer prompt"):
        QUICK.analyze(replace(study, prompt=""), seed=0)
