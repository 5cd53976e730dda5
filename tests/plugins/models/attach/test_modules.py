"""Any torch module, changed weights, and models by name."""

import subprocess
import sys

import pytest
import torch

import sdelens
from sdelens.errors import UnknownName, UsageError
from sdelens.protocols import Site
from tests.small import small_model


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
    with pytest.raises(UsageError, match=r"must be states \[batch, .*\], got \[1, 12, 16\]"):
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
    with pytest.raises(UsageError, match="documents= applies only to sampled texts"):
        sdelens.attach(plain, tokenizer=tokenizer).fit(["a cat"] * 12, documents=5)
