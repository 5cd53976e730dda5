"""Surprise of a real model at its own texts and at texts unlike them."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.fitting.fitted import log_density
from sdelens.protocols import Analyzer
from sdelens.runs.findings import load_finding, save_finding
from sdelens.states.capturing import documents_of, encode_document, record
from sdelens_plugins.analyzers.surprise.analyzer import SurpriseAnalyzer
from tests.asked import value
from tests.language import SITE, real_study


@pytest.fixture(scope="module")
def study(stories):
    return real_study(stories, documents=66)


@pytest.fixture(scope="module")
def finding(study):
    return SurpriseAnalyzer().analyze(study, seed=0)


def test_it_fulfils_the_protocol():
    assert isinstance(SurpriseAnalyzer(), Analyzer)
    assert "model" in SurpriseAnalyzer.needs


def test_gibberish_and_shuffled_words_are_detected_and_other_documents_are_not(finding):
    gibberish = value(finding, "AUROC of the fit, gibberish")
    assert gibberish.value > 0.9
    assert value(finding, "AUROC of perplexity, gibberish").value > 0.9
    other = value(finding, "AUROC of the fit, validation")
    assert abs(other.value - 0.5) < 4 * other.stderr
    assert "gibberish" in finding.headline
    assert "validation" not in finding.headline


def test_scores_are_the_mean_nats_of_each_document(study, finding):
    _, viewed = study.single
    means = []
    for block in viewed.fitted.encoded(viewed.test):
        nats = -log_density(viewed.fitted.law, block).double() / viewed.fitted.basis.latent
        means.append(nats.masked_fill(~block.steps, 0).sum(1) / block.steps.sum(1))
    mean = torch.cat(means)
    torch.testing.assert_close(
        finding.arrays["score.test_documents.fit"], mean, rtol=1e-4, atol=1e-4
    )


def test_text_that_the_model_wrote_surprises_it_less_than_altered_text(finding):
    own = value(finding, "surprise of the model, test documents").value
    for kind in ("words shuffled", "gibberish"):
        assert value(finding, f"surprise of the model, {kind}").value > own + 0.5


def test_sizes_are_near_those_of_training_on_usual_text(finding):
    for part in ("states", "residuals"):
        size = value(finding, f"norm of {part}, test documents")
        assert abs(size.value - 1) < max(0.1, 4 * size.stderr)
    usual, odd = (value(finding, f"norm of residuals, {k}").value for k in ("test", "gibberish"))
    assert odd > usual


def test_a_prompt_is_coloured_by_what_surprises_either(study):
    prompt = "One day, Lily went to the park"
    found = SurpriseAnalyzer(documents=4).analyze(replace(study, prompt=prompt), seed=0)
    fit, model, entropy = found.strips
    assert "".join(fit.tokens).strip() == prompt
    ids = torch.tensor([encode_document(study.model, prompt)])
    law = study.model.run(ids, logits=True).required_logits[0].float().log_softmax(-1)
    expected = -(law.exp() * law).sum(-1)[found.arrays["path.position"].long()]
    assert entropy.values == pytest.approx(expected.tolist(), rel=1e-3)
    assert fit.values[0] != fit.values[0]
    assert torch.tensor(model.values[1:]).gt(0).all()
    states = record(study.model, documents_of(study.model, [prompt]), [SITE], skip_first=1).view(
        SITE
    )
    _, viewed = study.single
    (block,) = viewed.fitted.encoded(states)
    nats = -log_density(viewed.fitted.law, block)[0].double() / viewed.fitted.basis.latent
    torch.testing.assert_close(found.arrays["path.fit"][1:], nats, rtol=1e-4, atol=1e-4)


def test_given_texts_are_compared_too(study, tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(f"zx{k} qq{k} 0{k}{k} vv{k}; xx{k} jj{k}" for k in range(9)))
    found = SurpriseAnalyzer(documents=8, texts=str(file)).analyze(study, seed=0)
    assert value(found, "AUROC of perplexity, given texts").value > 0.8
    assert "given texts" in found.headline


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
def test_texts_that_cannot_be_used_are_refused(study, tmp_path, content):
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match="texts must"):
        SurpriseAnalyzer(documents=2, texts=str(file)).analyze(study, seed=0)


def test_without_a_model_it_is_refused(study):
    with pytest.raises(UsageError, match="language model"):
        SurpriseAnalyzer().analyze(replace(study, model=None), seed=0)


def test_invalid_settings_are_refused():
    with pytest.raises(UsageError, match="span must be at least 1"):
        SurpriseAnalyzer(span=0)


def test_a_finding_is_the_same_again_and_saved_whole(study, finding, tmp_path):
    before = torch.get_rng_state()
    again = SurpriseAnalyzer().analyze(study, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    assert again.estimates == finding.estimates
    save_finding(finding, tmp_path)
    assert load_finding(tmp_path).estimates == finding.estimates


def test_figures_have_labels_and_captions(finding):
    names = [figure.name for figure in finding.figures]
    assert names == ["auroc", "documents", "stability", "along"]
    for figure in finding.figures:
        assert figure.caption.endswith(".")
        assert all(panel.y for panel in figure.panels)
