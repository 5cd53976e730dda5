"""Models whose states cannot be used, by row of the check."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

import sdelens
from sdelens.errors import UsageError
from sdelens.model_check.check import model_check
from sdelens.models import language_model
from sdelens.protocols import Site
from sdelens_plugins.models.plain import PlainModel
from tests.core.model_check.drawn import SMALL, checked, drawn, failing, ids, llama, of


class Backwards(LlamaForCausalLM):
    """A decoder whose attention is not causal."""

    def __init__(self, config):
        super().__init__(config)
        for layer in self.model.layers:
            layer.self_attn.is_causal = False
        config._attn_implementation = "eager"
        self.model._update_causal_mask = lambda *_: None

    def forward(self, input_ids, **keywords):
        mask = torch.zeros(len(input_ids), 1, input_ids.shape[1], input_ids.shape[1])
        return super().forward(input_ids, **keywords | {"attention_mask": mask})


def test_states_that_depend_on_the_future_are_refused(tmp_path):
    rows = checked(llama(Backwards))
    assert rows["causal"].passed is False
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = of("bert", **sizes, intermediate_size=32, vocab_size=97, initializer_range=0.3)
    rows = checked(bert)
    assert rows["causal"].passed is False
    assert "states change with later tokens" in rows["causal"].words


class Looped(LlamaForCausalLM):
    """A decoder that runs its first block twice, as universal transformers do."""

    def __init__(self, config):
        super().__init__(config)
        first = self.model.layers[0]
        inner = first.forward

        def again(states, **keywords):
            if getattr(first, "inside", False):
                return inner(states, **keywords)
            first.inside = True
            try:
                return first(inner(states, **keywords), **keywords)
            finally:
                first.inside = False

        first.forward = again


def test_a_block_that_is_called_twice_is_refused():
    rows = checked(llama(Looped))
    assert rows["one call per block and pass"].passed is False
    assert "block0 is called 2 times in a pass" in rows["one call per block and pass"].words


def test_blocks_whose_output_is_not_the_hidden_state_are_refused():
    model = llama()
    adapted = PlainModel.adapt(model)
    inner = {Site("block", k): block.mlp for k, block in enumerate(model.model.layers)}
    wrong = replace(adapted, modules={**adapted.modules, **inner})
    rows = {row.name: row for row in model_check(wrong).rows}
    assert rows["right state"].passed is False
    assert "do not give the library's hidden states" in rows["right state"].words


def test_several_residual_streams_are_one_sentence():
    class Once(nn.Module):
        def __init__(self, block):
            super().__init__()
            self.block = block

        def forward(self, states, **keywords):
            one = states[0] if states.ndim == 4 else states
            return torch.stack([self.block(one, **keywords)] * 2)

    model = llama()
    model.model.layers = nn.ModuleList(Once(block) for block in model.model.layers)
    model.model.norm = nn.Sequential(First(), model.model.norm)
    failing(model, "shape", "models with several residual streams")


class First(nn.Module):
    def forward(self, states):
        return states[0]


def test_an_embedding_of_another_width_is_left_out_and_the_blocks_are_used():
    sizes = SMALL | {"ffn_dim": 32, "max_position_embeddings": 32, "word_embed_proj_dim": 8}
    model = of("opt", **sizes)
    rows = checked(model)
    assert rows["embedding"].passed is None
    assert (
        "its width is 8: --layer embed and --axis layer cannot be used" in rows["embedding"].words
    )
    assert not any(row.passed is False for row in rows.values())
    assert sdelens.capture(model, ids(), layers=1).view(1)
    with pytest.raises(UsageError, match=r"embed of .* must give states \[batch, time, 16\]"):
        sdelens.capture(model, ids(), layers="embed")


class Batched(nn.Module):
    """A layer normalisation over the whole batch."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, states):
        return self.inner(states - states.mean((0, 1)))


def test_states_that_depend_on_the_other_texts_of_a_batch_are_refused():
    model = llama()
    model.model.layers[1].mlp = Batched(model.model.layers[1].mlp)
    rows = checked(model)
    assert rows["padding and batching"].passed is False
    assert "its states depend on other texts" in rows["padding and batching"].words


def test_the_difference_in_a_batch_is_reported_in_the_chosen_dtype():
    for dtype in ("float32", "bfloat16"):
        row = checked(llama().to(getattr(torch, dtype)))["padding and batching"]
        assert row.passed
        assert f"equal in {dtype} (relative difference" in row.words


def test_a_state_space_model_is_captured_and_not_sampled():
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 97, "state_size": 4}
    model = of("mamba", **sizes)
    said = "keeps no key-value cache, as state-space models do"
    rows = checked(model)
    assert rows["cache"].passed is None
    assert said in rows["cache"].words
    assert sdelens.capture(model, ids(), layers=1).view(1)
    with pytest.raises(UsageError, match=said):
        language_model(model).run(torch.tensor([[1, 2]]), keep=True)


class Forgetful(GPT2LMHeadModel):
    """A model that counts positions from zero after each pass."""

    def forward(self, input_ids, **keywords):
        positions = torch.arange(input_ids.shape[1])[None]
        return super().forward(input_ids, **keywords | {"position_ids": positions})


def test_a_cache_that_changes_states_is_refused():
    config = GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=97)
    config.initializer_range = 0.3
    failing(drawn(Forgetful, config), "cache", "different with and without key-value cache")
