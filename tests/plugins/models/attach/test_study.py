"""A study of a model in memory: questions, saving, and what is refused."""

import copy

import pytest
import torch

import sdelens
from sdelens.errors import UnknownName, UsageError
from sdelens.protocols import LanguageModel
from sdelens.runs.run import Run
from tests.plugins.models.attach.held import TEXTS


@pytest.fixture(scope="module")
def finding(study):
    return study.analyze("importance", prompt="the cat sat")


def test_a_study_is_asked_by_name_and_its_finding_shows_itself(study, finding):
    assert finding.prompt == "the cat sat"
    assert "<iframe" in finding._repr_html_()
    assert finding.figures[0]._repr_svg_().lstrip().startswith("<")
    assert "<iframe" in study._repr_html_()
    assert study.plot().panels
    with pytest.raises(UnknownName, match="Did you mean 'uncertainty'"):
        study.analyze("uncertanty")
    with pytest.raises(UnknownName, match="setting of importance"):
        study.analyze("importance", colour="red")


def test_a_study_prints_as_one_line(study):
    assert repr(study).startswith("<study ")
    assert len(repr(study).splitlines()) == 1


def test_a_finding_is_a_table_of_estimates_or_of_tokens(study, finding):
    table = finding.to_pandas()
    assert list(table.columns) == ["name", "value", "stderr", "unit"]
    assert list(table.value) == [each.value for each in finding.estimates]
    words = finding.to_pandas("tokens")
    assert "".join(words.token) in "<|endoftext|>the cat sat"
    assert len(words.columns) == 1 + len(finding.strips)
    with pytest.raises(UsageError, match="no values token by token"):
        study.analyze("losses").to_pandas("tokens")


def test_of_several_layers_one_must_be_named(plain, tokenizer):
    study = sdelens.attach(plain, tokenizer=tokenizer).fit(TEXTS, layers="embed,2", probe="linear")
    with pytest.raises(UsageError, match="layer must be one of 2, embed"):
        study.analyze("losses")
    assert study.analyze("losses", layer=2).view == "L02"
    assert study.analyze("losses", layer="embed").view == "embed"


def test_a_saved_study_is_a_run_and_comes_back_as_it_was(study, plain, tokenizer, tmp_path):
    place = study.save(tmp_path / "mine")
    again = sdelens.load(place, model=plain)
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    one, two = study.single[1].fitted, again.single[1].fitted
    assert torch.equal(one.drift(3.0, x), two.drift(3.0, x))
    assert one.record.scores == two.record.scores
    assert again.analyze("losses").headline == study.analyze("losses").headline
    assert Run(place).manifest["plugins"][0]["name"] == "transformers"
    assert not (place / "states").exists(), "they can be captured again"
    (here,), (there,) = study.single[1].test, again.single[1].test
    assert torch.equal(here.states, there.states)
    with pytest.raises(UsageError, match="not a run"):
        study.save(tmp_path)
    with pytest.raises(UsageError, match="give overwrite=True"):
        study.save(place)
    (place / "notes.txt").touch()
    assert sdelens.load(study.save(place, overwrite=True)).name == "mine"
    assert (place / "notes.txt").exists(), "a file of the user's own"
    assert sdelens.load(place, model=sdelens.attach(plain, tokenizer=tokenizer)).model is not None


def test_a_run_of_the_command_line_opens_on_the_model_in_memory(folder, plain, tmp_path):
    from sdelens.runs.engine import execute
    from sdelens.runs.job import Job

    job = Job(
        model=str(folder),
        layers="1",
        source_settings={"documents_wanted": 20, "length": 12},
        probe="linear",
        cache=False,
    )
    run = execute(job, tmp_path / "run")
    opened_ = sdelens.load(tmp_path / "run", model=plain)
    assert isinstance(opened_.model, LanguageModel)
    again = sdelens.attach(plain).fit(run.documents, layers=1, probe="linear")
    one, two = opened_.single[1].fitted.record.scores, again.single[1].fitted.record.scores
    assert one["held_out_nll_per_dim"] == pytest.approx(two["held_out_nll_per_dim"], abs=1e-5)


def test_another_model_is_refused_with_what_differs(study, plain, bridge, tokenizer, tmp_path):
    place = study.save(tmp_path / "mine")
    with pytest.raises(UsageError, match="type float32 there, bfloat16 here; fingerprint"):
        sdelens.load(place, model=copy.deepcopy(plain).bfloat16())
    other = copy.deepcopy(plain)
    other.transformer.h[2].ln_1.weight.data[0] += 1
    with pytest.raises(UsageError, match=r"\(fingerprint \w{12} there, \w{12} here\)"):
        sdelens.load(place, model=other)
    with pytest.raises(UsageError, match=r"layer at None there, transformer\.h\.1 here"):
        sdelens.load(place, model=plain, tokenizer=tokenizer, hook="transformer.h.1")
    bridge.enable_compatibility_mode(disable_warnings=True)
    with pytest.raises(UsageError, match="weights raw there, centred here"):
        sdelens.load(place, model=bridge)


def test_a_study_is_not_asked_about_a_model_that_has_changed_since(plain, tokenizer, tmp_path):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    fitted = lens.fit(TEXTS, layers=1, probe="linear")
    fitted.save(tmp_path / "run")
    reopened = sdelens.load(tmp_path / "run", model=plain, tokenizer=tokenizer)
    words = plain.get_input_embeddings().weight
    words.data[[5, 6]] = words.data[[6, 5]]
    for study in (fitted, reopened):
        with pytest.raises(UsageError, match=r"differs \(fingerprint"):
            study.analyze("importance", prompt="the cat sat")
    words.data[[5, 6]] = words.data[[6, 5]]
    assert reopened.analyze("importance", prompt="the cat sat").headline


def test_a_fit_at_one_named_layer_is_refused_at_another(toy, tmp_path):
    texts = torch.randint(0, 320, (20, 12), generator=torch.Generator().manual_seed(0))
    study = sdelens.attach(toy, hook="mix").fit(texts, probe="linear")
    place = study.save(tmp_path / "toy")
    assert sdelens.load(place, model=toy, hook="mix").model is not None
    with pytest.raises(UsageError, match=r"\(layer at mix there, words here\)"):
        sdelens.load(place, model=toy, hook="words")


def test_weights_that_a_bridge_rewrote_are_recorded(bridge):
    assert sdelens.attach(bridge).model.card.weights == "raw"
    bridge.enable_compatibility_mode(disable_warnings=True, center_writing_weights=False)
    lens = sdelens.attach(bridge)
    assert lens.model.card.weights == "folded"
    assert lens.capture(TEXTS[:2], layers=1).origin.model.weights == "folded"


def test_a_wrong_use_is_refused_before_any_work(plain, tokenizer):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    with pytest.raises(UsageError, match="at least 10 documents"):
        lens.fit(TEXTS[:3])
    with pytest.raises(UsageError, match="has 3 blocks"):
        lens.fit(TEXTS, layers=7)
    with pytest.raises(UnknownName, match="Did you mean 'linear'"):
        lens.fit(TEXTS, probe="liner")
    with pytest.raises(UnknownName, match="No option of a fit named 'width'"):
        lens.fit(TEXTS, probe="linear", width=3)
