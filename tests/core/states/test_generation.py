"""Prompts of unequal length, continued together."""

import pytest
import torch

from sdelens.errors import UsageError
from sdelens.paths.documents import Document
from sdelens.states.generation import continue_texts
from sdelens.states.padding import left_padded, pads
from sdelens.states.sampling import Sampler
from sdelens.testing.small_model import small_model


def prompts_of(model, lengths, seed=0):
    random = torch.Generator().manual_seed(seed)
    high = model.card.vocabulary
    return [
        Document(tuple(torch.randint(3, high, (n,), generator=random).tolist())) for n in lengths
    ]


def continued(model, prompts, sampler=None, *, length=12, seed=0, **settings):
    sampler = sampler or Sampler()
    return list(continue_texts(model, sampler, prompts, length=length, seed=seed, **settings))


LENGTHS = (5, 1, 9, 2, 9, 14, 3)


def test_a_padded_row_has_the_law_that_it_has_alone(shared_model):
    prompts = [prompt.tokens for prompt in prompts_of(shared_model, LENGTHS)]
    assert pads(shared_model, prompts)
    ids = left_padded(prompts)
    padding = ids.lt(0).sum(1)
    out = shared_model.run_padded(ids.clamp(min=0), padding=padding)
    for step in range(3):
        for row, prompt in enumerate(prompts):
            whole = torch.tensor([[*prompt, *[7] * step]])
            alone = shared_model.run(whole, logits=True).logits[0, -1]
            error = (out.logits[row, -1] - alone).abs().max()
            assert error < 1e-4 * alone.abs().max() + 1e-5
        new = torch.full((len(prompts), 1), 7)
        out = shared_model.run_padded(new, padding=padding, past=out.past)


def test_a_text_does_not_depend_on_the_rest_of_its_batch(shared_model):
    prompts = prompts_of(shared_model, LENGTHS)
    together = continued(shared_model, prompts)
    assert continued(shared_model, prompts[:3]) == together[:3]
    assert len({text.tokens for text in together}) == len(LENGTHS)
    for prompt, text in zip(prompts, together, strict=True):
        assert text.tokens[: len(prompt.tokens)] == prompt.tokens


def test_ended_texts_leave_the_batch_and_the_others_stay_as_they_are(char_gpt2):
    # a newline ends a text of this model, which most reach at different steps
    prompts = prompts_of(char_gpt2, [2, 3, 4] * 6)
    together = continued(char_gpt2, prompts, length=30)
    assert len({len(text.tokens) for text in together}) > 5
    for number in (0, 7, 17):
        assert continued(char_gpt2, prompts[: number + 1], length=30)[number] == together[number]


def test_a_path_starts_at_the_state_that_predicts_the_first_new_token(char_gpt2):
    prompts = prompts_of(char_gpt2, LENGTHS)
    assert [text.start for text in continued(char_gpt2, prompts)] == [n - 1 for n in LENGTHS]


def test_a_model_that_cannot_be_padded_continues_texts_of_equal_length_together(char_gpt2):
    class Plain:
        """The members of a `LanguageModel` only."""

        def __init__(self):
            self.card, self.library, self.device = char_gpt2.card, "", char_gpt2.device
            self.hooked, self.encode = char_gpt2.hooked, char_gpt2.encode
            self.decode, self.untrained = char_gpt2.decode, char_gpt2.untrained
            self.rows = []

        def run(self, tokens, **settings):
            self.rows.append(len(tokens))
            return char_gpt2.run(tokens, **settings)

    prompts, plain = prompts_of(char_gpt2, LENGTHS), Plain()
    assert not pads(plain, [prompt.tokens for prompt in prompts])
    assert continued(plain, prompts) == continued(char_gpt2, prompts)
    assert max(plain.rows) == LENGTHS.count(9)


def test_padding_that_changes_the_law_is_not_used(char_gpt2, monkeypatch):
    prompts = prompts_of(char_gpt2, LENGTHS)
    expected = continued(char_gpt2, prompts)
    own = type(char_gpt2).run_padded

    def attended(self, tokens, *, padding, past=None):
        return own(self, tokens, padding=torch.zeros_like(padding), past=past)

    monkeypatch.setattr(type(char_gpt2), "run_padded", attended)
    assert not pads(char_gpt2, [prompt.tokens for prompt in prompts])
    assert continued(char_gpt2, prompts) == expected


def test_memory_that_runs_out_halves_the_batch_and_leaves_the_texts_as_they_are(
    char_gpt2, monkeypatch
):
    prompts = prompts_of(char_gpt2, [4] * 8)
    expected, own, rows = continued(char_gpt2, prompts), type(char_gpt2).run, []

    def run(self, tokens, **settings):
        rows.append(len(tokens))
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(self, tokens, **settings)

    monkeypatch.setattr(type(char_gpt2), "run", run)
    assert continued(char_gpt2, prompts) == expected
    assert rows[:3] == [8, 4, 2]


def test_answers_end_with_the_context(char_gpt2):
    context = char_gpt2.card.context
    prompts = prompts_of(char_gpt2, [context - 2, 3, context - 1])
    found = continued(char_gpt2, prompts, Sampler(ignore_eos=True), length=500)
    assert {len(text.tokens) for text in found} == {context}


PENALTY = Sampler(repetition_penalty=1.7)


def test_the_law_of_each_setting_is_that_of_generate_in_hugging_face():
    from transformers import LogitsProcessorList, generation

    logits, tokens = 3 * torch.randn(40, 50), torch.randint(0, 50, (40, 12))
    g = generation
    for sampler, steps in (
        (Sampler(top_k=7), [g.TopKLogitsWarper(7)]),
        (Sampler(min_p=0.2), [g.MinPLogitsWarper(0.2)]),
        (PENALTY, [g.RepetitionPenaltyLogitsProcessor(1.7)]),
        (
            Sampler(0.7, 0.8, False, 9, 0.05, 1.3),
            [
                g.RepetitionPenaltyLogitsProcessor(1.3),
                g.TemperatureLogitsWarper(0.7),
                g.TopKLogitsWarper(9),
                g.TopPLogitsWarper(0.8),
                g.MinPLogitsWarper(0.05),
            ],
        ),
    ):
        expected = LogitsProcessorList(steps)(tokens, logits.clone()).softmax(-1)
        last = torch.tensor([tokens.shape[1] - 1])
        found = sampler.law(logits[:, None], tokens, last, ())[:, 0]
        assert torch.allclose(found, expected, atol=1e-6), sampler


def test_padding_is_no_token_that_a_penalty_applies_to():
    logits = torch.randn(1, 1, 6)
    tokens = torch.tensor([[-1, -1, 2, 5, 2]])
    found = PENALTY.law(logits, tokens, torch.tensor([4]), ())
    alone = PENALTY.law(logits, tokens[:, 2:], torch.tensor([2]), ())
    assert torch.equal(found, alone)
    assert not torch.allclose(found, logits.softmax(-1))


def test_a_penalty_looks_at_the_tokens_up_to_each_position_only():
    logits, tokens = torch.randn(2, 4, 9), torch.randint(0, 9, (2, 4))
    every = PENALTY.law(logits, tokens, torch.arange(4), ())
    for end in range(4):
        one = PENALTY.law(logits[:, end, None], tokens[:, : end + 1], torch.tensor([end]), ())
        assert torch.equal(every[:, end], one[:, 0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": -1}, "top-k must be at least 0"),
        ({"min_p": 1.5}, "min-p must be between 0 and 1"),
        ({"min_p": float("nan")}, "min-p must be between 0 and 1"),
        ({"repetition_penalty": 0.0}, "repetition-penalty must be above 0"),
        ({"repetition_penalty": float("inf")}, "repetition-penalty must be above 0"),
    ],
)
def test_other_settings_that_make_no_law_are_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        Sampler(**settings)


def test_a_sampler_names_the_settings_that_are_not_the_default():
    assert str(Sampler()) == "temperature 1"
    assert str(Sampler(0.7, 0.9, True, 50, 0.05, 1.1)) == (
        "temperature 0.7, top-k 50, top-p 0.9, min-p 0.05, repetition penalty 1.1, end of text "
        "banned"
    )


def test_a_token_that_ends_a_turn_ends_a_text_too():
    from dataclasses import replace

    model = small_model()
    ends = replace(model, card=replace(model.card, turn_ends=tuple(range(40, 140))))
    found = continued(ends, [Document((5, 6))] * 20, length=30)
    assert all(text.tokens[-1] in ends.card.ends for text in found if len(text.tokens) < 32)
    assert all(not set(text.tokens[2:-1]) & set(ends.card.ends) for text in found)
    assert {len(text.tokens) for text in found} != {32}
