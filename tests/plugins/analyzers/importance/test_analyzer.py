"""What moves a fit, where it is known."""

from dataclasses import replace

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.language.texts import held_out_texts
from sdelens.protocols import Analyzer, Site
from sdelens.runs.findings import load_finding, save_finding
from sdelens_plugins.analyzers.importance.analyzer import ImportanceAnalyzer
from sdelens_plugins.analyzers.importance.measures import mean_embedding, measure_texts
from sdelens_plugins.analyzers.importance.results import completeness_notes
from tests.asked import value
from tests.plugins.analyzers.studied import numbers_in
from tests.spoken import Closed, Loud, spoken_study

QUICK = ImportanceAnalyzer(tokens=8, documents=6, nodes=3)


def test_it_is_an_analyzer_of_views():
    assert isinstance(QUICK, Analyzer)
    assert QUICK.needs == {"sde", "model"}


def test_norms_are_those_of_embeddings_and_states(study, model):
    finding = QUICK.analyze(replace(study, prompt="the cat sat on"), seed=0)
    ids = finding.arrays["tokens"][None]
    reads = model.run(ids, read=[Site("embed"), Site("block", 1)]).reads
    for name, site in {"embedding": Site("embed"), "state": Site("block", 1)}.items():
        expected = reads[site][0].norm(dim=-1).double()
        assert torch.allclose(finding.arrays[f"text.{name}"][-1], expected, rtol=1e-5)


def test_integrated_gradients_add_up_and_agree_with_occlusion(study):
    finding = replace(QUICK, nodes=24).analyze(study, seed=0)
    assert value(finding, "largest gap of integrated gradients").value < 0.02
    assert "more nodes" not in finding.reading
    name = "agreement of integrated gradients, drift with occlusion"
    agreed = value(finding, name)
    assert agreed.value > 3 * agreed.stderr


def test_gradients_that_do_not_add_up_are_said_to(study):
    texts = [text.first(6) for text in held_out_texts(study, documents=3)]
    found = measure_texts(study, texts, mean_embedding(study, texts), 24)
    assert completeness_notes(found) == []
    (said,) = completeness_notes(replace(found, gap=torch.tensor([0.0, 0.3, 0.01])))
    assert "miss up to 30%" in said


def test_at_the_embedding_the_last_token_moves_everything(model):
    finding = QUICK.analyze(spoken_study(model, Site("embed"), noise=Loud()), seed=0)
    for name in ("drift.integrated", "drift.occlusion", "noise.integrated"):
        values = finding.arrays[f"documents.{name}"]
        others = torch.arange(values.shape[1]) != finding.arrays["documents.at"][:, None]
        assert values[others].abs().max() < 1e-6
        assert values[~others].abs().min() > 0
    share = value(finding, "last token's share of integrated gradients, drift")
    assert share.value == pytest.approx(1)
    assert "No attention precedes the embedding" in finding.reading


def test_constant_noise_is_said_to_depend_on_no_token(study, model):
    assert "no token changes it" in QUICK.analyze(study, seed=0).reading
    loud = QUICK.analyze(spoken_study(model, Site("block", 1), noise=Loud()), seed=0)
    assert "no token changes it" not in loud.reading
    assert len(loud.figures[4].panels) == 2


def test_what_the_adapter_cannot_do_is_left_out_in_words(study, model):
    finding = QUICK.analyze(replace(study, model=Closed(model)), seed=0)
    assert "cannot be read through its adapter" in finding.reading
    assert "gradients need a model that runs with them" in finding.reading
    assert "attention" not in finding.arrays
    assert "documents.drift.occlusion" in finding.arrays
    assert "by occlusion" in finding.headline
    assert len(numbers_in(finding.headline)) <= 2


def test_one_token_is_enough(study):
    finding = QUICK.analyze(replace(study, prompt="a"), seed=0)
    assert len(finding.strips[0].tokens) == 1
    assert finding.arrays["text.drift.occlusion"].isfinite().all()


@pytest.mark.parametrize("basis", ["standard", "pca:4"])
def test_a_short_prompt_is_weighed(model, basis):
    study = spoken_study(model, Site("block", 0), basis=basis, prompt="the cat sat")
    finding = QUICK.analyze(study, seed=0)
    assert finding.prompt == "the cat sat"
    figure = next(f for f in finding.figures if f.name == "attention")
    heat, of_the_last = (panel.layers[0] for panel in figure.panels)
    layers = len(finding.arrays["attention"])
    assert of_the_last.values["y"].tolist() == list(range(layers))
    averaged = finding.arrays["attention"].mean(1)[:, -1, 1:]
    assert torch.allclose(of_the_last.values["z"][:, 1:], averaged)
    assert heat.words[0] == "sink"
    assert heat.values["z"][:, 0].isnan().all()
    assert heat.values["z"][:, 1:].isfinite().all()
    assert all(torch.isfinite(torch.tensor(strip.values)).all() for strip in finding.strips)


def test_from_one_text_there_are_no_errors(study):
    view, viewed = study.single
    one = replace(viewed, test=viewed.test.select([13]))
    finding = QUICK.analyze(replace(study, views={view: one}), seed=0)
    assert all(e.stderr is None for e in finding.estimates)


def test_it_depends_on_its_seed_alone_and_is_saved_whole(study, tmp_path):
    before = torch.get_rng_state()
    first, again = (QUICK.analyze(study, seed=0) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert first.estimates == again.estimates
    pairs = ((first.arrays[k], again.arrays[k]) for k in first.arrays)
    # few texts have no intervals
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)
    save_finding(first, tmp_path / "f")
    assert load_finding(tmp_path / "f").headline == first.headline


def test_what_cannot_be_is_refused():
    with pytest.raises(UsageError, match="mean or zero"):
        ImportanceAnalyzer(baseline="unknown")
    with pytest.raises(UsageError, match="nodes must be at least 1"):
        ImportanceAnalyzer(nodes=0)
