"""Models that their user holds: attached, captured, fitted, saved, and left as they were."""

import copy
import inspect

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import sdelens
from sdelens.errors import UsageError
from sdelens.models import language_model
from sdelens.runs.in_memory import documents_given
from sdelens.states.capturing import encode_document, sites_of
from tests.plugins.models.attach.held import TEXTS, blocks_in

# float32: what fused and spelt-out attention differ by, relative to the largest state
CLOSE = 2e-6


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
    with pytest.raises(UsageError, match="remove padding"):
        lens.capture(torch.tensor([[-100, 5, 6]]))
    with pytest.raises(UsageError, match="give its input_ids, with attention_mask="):
        # past the check of types, which only tests have
        inspect.unwrap(documents_given)(lens.model, tokenizer(TEXTS[:3]))


def test_without_a_tokenizer_that_of_the_models_folder_is_taken_else_ids_will_do(plain):
    assert len(sdelens.attach(plain).model.encode("the cat")) > 1
    alone = copy.deepcopy(plain)
    alone.config._name_or_path = ""
    lens = sdelens.attach(alone)
    assert lens.model.decode([3, 4]) == ["#3", "#4"]
    assert lens.capture([[3, 4, 5]], layers=0).shards == 1
    with pytest.raises(UsageError, match="texts need a tokenizer"):
        lens.capture(["the cat"])
