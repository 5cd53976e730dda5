"""Models that their user holds: attached, captured, fitted, saved, and left as they were."""

import copy
import inspect
import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM, AutoTokenizer

import sdelens
from sdelens.errors import UnknownName, UsageError
from sdelens.models import language_model
from sdelens.protocols import LanguageModel, Site
from sdelens.registry import Plugin
from sdelens.runs.in_memory import documents_given
from sdelens.runs.observer import NullObserver, Observer, at_hand
from sdelens.runs.run import Run
from sdelens.states.capturing import encode_document, sites_of
from sdelens_cli.screen import Screen
from tests.small import TEXT, small_model

TEXTS = [f"{TEXT[i % 4]} number {i}" for i in range(24)]
QUICK = {"epochs": 1, "least_steps": 60, "width": 8, "noise_width": 8}
# float32: what fused and spelt-out attention differ by, relative to the largest state
CLOSE = 2e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture
def plain(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


@pytest.fixture
def bridge(plain, tokenizer):
    return TransformerBridge.boot_transformers(
        "theirs",
        hf_model=copy.deepcopy(plain),
        tokenizer=copy.deepcopy(tokenizer),
        device="cpu",
    )


@pytest.fixture(params=["plain", "bridge", "module"])
def attached(request, plain, bridge, tokenizer):
    """A lens of each kind at block 1, the object that it is on, and the layer's number there."""
    if request.param == "plain":
        return sdelens.attach(plain, tokenizer=tokenizer), plain, 1
    if request.param == "bridge":
        bridge(torch.tensor([[1, 2]]))  # a bridge sets hooks of its own in its first pass
        return sdelens.attach(bridge), bridge.original_model, 1
    return sdelens.attach(plain, tokenizer=tokenizer, hook="transformer.h.1"), plain, 0


@pytest.fixture(scope="module")
def study(folder, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return sdelens.attach(model, tokenizer=tokenizer).fit(TEXTS, layers=1, seed=0, **QUICK)


@pytest.fixture(scope="module")
def finding(study):
    return study.analyze("importance", prompt="the cat sat")


class Toy(nn.Module):
    """A model of no library: a causal running mean between two maps."""

    def __init__(self, vocabulary=320, width=12):
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.mix = nn.Linear(width, width)
        self.out = nn.Linear(width, vocabulary)

    def forward(self, ids):
        counts = torch.arange(1, ids.shape[1] + 1)[:, None]
        return self.out(self.mix(self.words(ids).cumsum(1) / counts))


@pytest.fixture
def toy():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Toy()


def blocks_in(model):
    return model.transformer.h if hasattr(model, "transformer") else model.model.layers


@torch.no_grad()
def by_hand(model, tokens):
    found = []
    modules = [model.get_input_embeddings(), *blocks_in(model)]
    handles = [
        module.register_forward_hook(
            lambda _, __, out: found.append(out[0] if isinstance(out, tuple) else out)
        )
        for module in modules
    ]
    model(input_ids=tokens, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def snapshot(model):
    """All that must be the same before and after."""
    return {
        "modules": [(name, type(module).__name__) for name, module in model.named_modules()],
        "forward": [vars(module).get("forward") for module in model.modules()],
        "training": [module.training for module in model.modules()],
        "weights": [(id(p), p.dtype, p.device, p.requires_grad) for p in model.parameters()],
        "bytes": [p.detach().double().sum().item() for p in model.parameters()],
        "grads": [p.grad for p in model.parameters()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in model.modules()
        ],
        "config": model.config.to_dict(),
        "attention": model.config._attn_implementation,
        "random": torch.random.get_rng_state().tolist(),
    }


# --- states


@pytest.mark.parametrize("name", ["TinyStories-656K", "char-gpt2-shakespeare", "stories260K"])
def test_a_plain_model_gives_the_states_of_hooks_set_by_hand(shared, name):
    model = AutoModelForCausalLM.from_pretrained(shared / "models" / name, dtype=torch.float32)
    held = sdelens.attach(model.eval()).model
    random = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, held.card.vocabulary, (2, 20), generator=random)
    sites = sites_of("embed,all", held)
    reads = held.run(tokens, read=sites).reads
    for site, states in zip(sites, by_hand(model, tokens), strict=True):
        assert torch.equal(reads[site], states)
        assert torch.equal(held.run(tokens, read=[site]).reads[site], states), "stopped there"


def test_every_adapter_gives_the_same_states_for_the_same_weights(plain, bridge, tokenizer):
    (one,) = sdelens.attach(plain, tokenizer=tokenizer).capture(TEXTS, layers=1).view(1)
    (two,) = sdelens.attach(bridge).capture(TEXTS, layers=1).view(1)
    named = sdelens.attach(plain, tokenizer=tokenizer, hook="transformer.h.1")
    (three,) = named.capture(TEXTS, layers=0).view(0)
    scale = float(one.states.abs().max())
    assert torch.equal(one.states, three.states)
    assert torch.equal(one.tokens, two.tokens)
    assert float((one.states - two.states).abs().max()) <= 5 * CLOSE * scale


def test_texts_have_the_ids_that_the_command_line_gives_them(shared):
    # BOS once: Llama's tokenizer would put one in front, GPT-2's would not
    for name in ("stories260K", "char-gpt2-shakespeare"):
        place = shared / "models" / name
        ours, theirs = language_model(place, device="cpu"), AutoTokenizer.from_pretrained(place)
        model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
        held = sdelens.attach(model, tokenizer=theirs).model
        for text in ("Once upon a time", "", "a\n"):
            assert encode_document(held, text) == encode_document(ours, text)
        assert held.card.fingerprint == ours.card.fingerprint
        assert held.card.bos == ours.card.bos is not None


def test_texts_ids_and_tensors_give_the_same_states(plain, tokenizer):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    ids = [encode_document(lens.model, text) for text in TEXTS[:3]]
    (one,) = lens.capture(TEXTS[:3], layers=2).view(2)
    (two,) = lens.capture(ids, layers=2).view(2)
    (three,) = lens.capture([torch.tensor(row) for row in ids], layers=2).view(2)
    assert torch.equal(one.states, two.states)
    assert torch.equal(one.states, three.states)
    (alone,) = lens.capture(TEXTS[0], layers=2).view(2)
    (row,) = lens.capture(torch.tensor(ids[0]), layers=2).view(2)
    (rows,) = lens.capture(torch.tensor([ids[0]]), layers=2).view(2)
    assert torch.equal(alone.states, row.states)
    assert torch.equal(alone.states, rows.states)


def test_what_are_no_token_ids_is_refused(plain, tokenizer):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    with pytest.raises(UsageError, match="strings or token ids"):
        lens.capture(torch.randn(3, 8))
    with pytest.raises(UsageError, match="token ids of small are 0 to 319, got 5 to 320"):
        lens.capture([[5, 320, 6]])
    with pytest.raises(UsageError, match="cut padding off"):
        lens.capture(torch.tensor([[-100, 5, 6]]))
    with pytest.raises(UsageError, match="give its input_ids, padding cut off"):
        # past the check of types, which only tests have
        inspect.unwrap(documents_given)(lens.model, tokenizer(TEXTS[:3]))


def test_without_a_tokenizer_that_of_the_models_folder_is_taken_else_ids_will_do(plain):
    assert len(sdelens.attach(plain).model.encode("the cat")) > 1
    alone = copy.deepcopy(plain)
    alone.config._name_or_path = ""
    lens = sdelens.attach(alone)
    assert lens.model.decode([3, 4]) == ["#3", "#4"]
    assert lens.capture([[3, 4, 5]], layers=0).shards == 1
    with pytest.raises(UsageError, match="came without one: give"):
        lens.capture(["the cat"])


# --- the model is the user's


def test_the_model_is_the_same_before_and_after(attached):
    lens, model, layer = attached
    model.train()  # with dropout at work, states would be noise and the random state would move
    model.lm_head.eval()
    before = snapshot(model)
    study = lens.fit(TEXTS, layers=layer, probe="linear", seed=0)
    study.analyze("trajectory", prompt=TEXT[0])
    with lens.record(layers=layer):
        pass
    assert snapshot(model) == before


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt])
def test_the_model_is_the_same_after_an_error_and_an_interrupt(attached, kind):
    lens, model, layer = attached
    model.train()

    def fail(*_):
        raise kind

    handle = blocks_in(model)[1].register_forward_pre_hook(fail)
    before = snapshot(model)
    with pytest.raises(kind):
        lens.capture(TEXTS, layers=layer)
    assert snapshot(model) == before
    model.eval()  # a pass of the user's own would move the random state
    before = snapshot(model)
    with pytest.raises(kind), lens.record(layers=layer):
        model(input_ids=torch.tensor([[1, 2, 3]]))
    assert snapshot(model) == before
    handle.remove()


def test_a_users_own_hook_stays_active_and_is_told(attached, tmp_path):
    lens, model, layer = attached
    plain = lens.capture(TEXTS, layers=layer, cache=tmp_path)
    assert plain.origin.repeatable
    handle = blocks_in(model)[0].register_forward_hook(
        lambda _, __, out: tuple(0 * x for x in out) if isinstance(out, tuple) else 0 * out
    )
    ablated = lens.capture(TEXTS, layers=layer, cache=tmp_path)
    handle.remove()
    (one,), (two,) = plain.view(layer), ablated.view(layer)
    assert not ablated.origin.repeatable
    assert float((one.states - two.states).abs().max()) > 0.1
    (again,) = lens.capture(TEXTS, layers=layer).view(layer)
    assert torch.equal(one.states, again.states)


def test_a_hook_that_draws_leaves_the_users_random_state_alone(attached):
    lens, model, layer = attached
    block = model.transformer.h[1]
    handle = block.register_forward_hook(lambda _, __, out: out + torch.randn_like(out))
    before = torch.random.get_rng_state()
    recording = lens.capture(TEXTS[:3], layers=layer)
    handle.remove()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not recording.origin.repeatable


def test_a_hook_on_every_module_is_a_hook_on_this_one(attached):
    lens, _, _ = attached
    assert not lens.model.hooked()
    for add in (register_module_forward_hook, register_module_forward_pre_hook):
        handle = add(lambda *_: None)
        told = lens.model.hooked()
        handle.remove()
        assert told
    assert not lens.model.hooked()


def test_states_under_a_hook_are_kept_with_the_study_that_was_fitted_to_them(
    plain, tokenizer, tmp_path
):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    handle = plain.transformer.h[0].register_forward_hook(lambda _, __, out: 0.5 * out)
    study = lens.fit(TEXTS, layers=1, probe="linear")
    (here,) = study.single[1].test
    handle.remove()
    study.save(tmp_path / "without", states=False)
    with pytest.raises(
        UsageError, match=r"shaped by what its user did .* save it with states=True"
    ):
        next(iter(sdelens.load(tmp_path / "without", model=plain).single[1].test))
    study.save(tmp_path / "run")
    (there,) = sdelens.load(tmp_path / "run", model=plain).single[1].test
    assert torch.equal(here.states, there.states)
    assert (tmp_path / "run" / "states" / "index.json").exists()


# --- fit, ask, save, load


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
    with pytest.raises(UsageError, match="not a run"):
        study.save(place, overwrite=True)
    (place / "notes.txt").unlink()
    assert sdelens.load(study.save(place, overwrite=True)).name == "mine"
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
    encode_document = sdelens.load(tmp_path / "run", model=plain, tokenizer=tokenizer)
    words = plain.get_input_embeddings().weight
    words.data[[5, 6]] = words.data[[6, 5]]
    for study in (fitted, encode_document):
        with pytest.raises(UsageError, match=r"is another \(fingerprint"):
            study.analyze("importance", prompt="the cat sat")
    words.data[[5, 6]] = words.data[[6, 5]]
    assert encode_document.analyze("importance", prompt="the cat sat").headline


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


class Counting:
    """An observer that counts."""

    def __init__(self):
        self.done = {}

    @contextmanager
    def stage(self, name, total, unit):
        self.done[name] = [0, total]

        def done(steps, remark="", total=None):
            self.done[name][0] += steps

        yield done

    def planned(self, plan):
        self.texts = plan.texts

    def told(self, sentence):
        pass


def test_an_observer_is_told_how_far_the_work_is(plain, tokenizer):
    lens, observer = sdelens.attach(plain, tokenizer=tokenizer), Counting()
    recording = lens.capture(TEXTS, layers=0, observer=observer)
    tokens = sum(len(encode_document(lens.model, text)) for text in TEXTS)
    assert recording.shards == 1
    assert observer.done == {"capture": [tokens, tokens]}
    lens.fit(TEXTS, layers=0, probe="linear", observer=observer)
    assert {"model", "texts", "capture", "fit L00"} <= observer.done.keys()
    assert observer.texts == "24 given in Python"


def test_a_notebook_that_cannot_draw_bars_gets_none_and_no_warning(monkeypatch):
    monkeypatch.setattr("sdelens_cli.screen.find_spec", lambda name: None)
    screen = Screen()
    screen.console = Console(stderr=True, force_jupyter=True)
    with screen.stage("fit", 3, "epochs") as done:  # warnings are errors here
        done(1)


def test_in_a_notebook_the_installed_observer_draws_and_elsewhere_nobody(monkeypatch):
    assert isinstance(at_hand(), NullObserver)
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    observer = at_hand()
    assert type(observer).__module__ == "sdelens_cli.screen"
    assert isinstance(observer, Observer)


def test_an_observer_that_fails_is_left_out_and_ours_goes_first(monkeypatch, capsys):
    def broken():
        raise RuntimeError("oh")

    kinds = {"broken": broken, "bare": object, "quiet": NullObserver}
    known = {
        name: Plugin("observer", name, f"a-{name}", "1", "", lambda kind=kind: kind)
        for name, kind in kinds.items()
    }
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr("sdelens.runs.observer.plugins", lambda _: known)
    assert isinstance(at_hand(), NullObserver)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "left out: the observer 'broken' of a-broken 1: oh"
    assert "'bare'" in second
    known["screen"] = Plugin("observer", "screen", "sdelens", "1", "", lambda: Counting)
    assert isinstance(at_hand(), Counting)
    assert not capsys.readouterr().err


# --- any module


def test_any_module_is_fitted_where_its_user_says(toy):
    texts = torch.randint(0, 320, (20, 12), generator=torch.Generator().manual_seed(0))
    lens = sdelens.attach(toy, hook="mix")
    (block,) = lens.capture(texts).view(0)
    expected = toy.mix(toy.words(texts).cumsum(1) / torch.arange(1, 13)[:, None])[:, 1:]
    assert torch.equal(block.states, expected.detach())
    assert (lens.model.card.blocks, lens.model.card.width) == (1, 12)
    study = lens.fit(texts, probe="linear")
    assert study.analyze("losses").view == "L00"


def test_a_module_without_a_cache_goes_on_from_the_whole_text(toy):
    model = sdelens.attach(toy, hook="mix").model
    ids = torch.randint(0, 320, (2, 9), generator=torch.Generator().manual_seed(0))
    whole = model.run(ids, read=[Site("block", 0)], keep=True, logits=True)
    first = model.run(ids[:, :5], keep=True, logits=True)
    rest = model.run(ids[:, 5:], read=[Site("block", 0)], past=first.past, keep=True, logits=True)
    assert torch.equal(rest.reads[Site("block", 0)], whole.reads[Site("block", 0)][:, 5:])
    assert torch.equal(rest.logits, whole.logits[:, 5:])
    other = model.untrained(1).run(ids, read=[Site("block", 0)]).reads[Site("block", 0)]
    assert not torch.allclose(other, whole.reads[Site("block", 0)])


def test_a_module_must_be_told_where_and_the_names_are_offered(toy, plain):
    with pytest.raises(UsageError, match=r'no adapter for .*Toy: expected .*hook="…"'):
        sdelens.attach(toy)
    with pytest.raises(UnknownName, match="Did you mean 'mix'"):
        sdelens.attach(toy, hook="mixx")
    with pytest.raises(UsageError, match=r"must be states \[batch, time, dim\], got \[1, 4, 16\]"):
        sdelens.attach(plain, hook="transformer.wpe").capture([[1, 2, 3, 4], [1, 2, 3, 5]])
    with pytest.raises(UsageError, match=r"no adapter for a builtins\.object"):
        sdelens.attach(object())
    with pytest.raises(UsageError, match="Toy has 1 blocks"):
        sdelens.attach(toy, hook="mix").capture([[1, 2, 3]], layers=3)


def test_only_the_library_that_the_model_is_of_is_imported():
    code = """
import sys, torch, sdelens
class Toy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(9, 4)
    def forward(self, ids):
        return self.words(ids)
sdelens.attach(Toy(), hook="words").capture([[1, 2, 3]])
print(sorted({"transformers", "transformer_lens", "datasets"} & set(sys.modules)))
from transformers import GPT2Config, GPT2LMHeadModel
small = GPT2Config(n_layer=1, n_embd=8, n_head=1, vocab_size=9)
sdelens.attach(GPT2LMHeadModel(small)).capture([[1, 2, 3]])
print("transformer_lens" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[]", "False"]


def test_a_change_of_the_weights_is_seen_at_the_next_use_however_it_was_made(plain, tokenizer):
    lens = sdelens.attach(plain, tokenizer=tokenizer)
    seen = [lens.model.card.fingerprint]
    weight = plain.transformer.h[1].mlp.c_fc.weight
    weight.data[0, 0] += 1  # past autograd, which then knows of no change
    seen.append(lens.model.card.fingerprint)
    weight.data[[0, -1]] = weight.data[[-1, 0]]
    seen.append(lens.model.card.fingerprint)
    words = plain.get_input_embeddings().weight
    words.data[[5, 6]] = words.data[[6, 5]]
    seen.append(lens.model.card.fingerprint)
    words.data[7, 1::2] *= -1
    seen.append(lens.model.card.fingerprint)
    plain.half()
    seen.append(lens.model.card.fingerprint)
    assert len(set(seen)) == 6
    assert lens.model.card.fingerprint == seen[-1]


# --- by name, on texts that the model writes


def test_a_name_is_loaded_once_and_its_texts_are_those_that_the_command_line_samples(
    plain, tmp_path
):
    from sdelens.runs.engine import execute
    from sdelens.runs.job import Job

    place = str(small_model(tmp_path))
    lens = sdelens.attach(place)
    assert lens.model is lens.model
    assert repr(lens) == f"<lens on {tmp_path.name}>"
    study = lens.fit(documents=20, length=10, layers=1, probe="linear")
    texts = {"documents_wanted": 20, "length": 10}
    job = Job(model=place, layers="1", probe="linear", source_settings=texts, cache=False)
    whole = execute(job, tmp_path / "run").study()
    assert torch.equal(study.documents.tokens, whole.documents.tokens)
    assert study.sampler == whole.sampler is not None
    for name, tensor in whole.single[1].fitted.law.tensors().items():
        assert torch.equal(study.single[1].fitted.law.tensors()[name], tensor)


def test_what_belongs_to_a_model_in_memory_or_to_sampled_texts_is_refused_elsewhere(
    plain, tokenizer
):
    with pytest.raises(UsageError, match="tokenizer belong to a model in memory"):
        sdelens.attach("tiny", tokenizer=tokenizer)
    with pytest.raises(UsageError, match="documents= says how many texts are sampled"):
        sdelens.attach(plain, tokenizer=tokenizer).fit(["a cat"] * 12, documents=5)
