"""Prompts that the model answers."""

import json

import pytest

from sdelens.errors import UsageError
from sdelens.runs.job import Job
from sdelens.runs.plan import plan_of
from sdelens.states.sampling import Sampler
from sdelens_plugins.sources.prompts import shipped_questions
from sdelens_plugins.sources.sampled import SampledSource

QUESTIONS = ["the cat?", "a bird in the tree?", "why the sea", "who ran to the door?"]


def answered(model, *, seed=0, length=8, **settings):
    return list(SampledSource(length=length, **settings).documents(model, seed=seed))


def text(model, document, part=slice(None)):
    return "".join(model.decode(document.tokens[part]))


def test_a_prompt_is_given_in_the_template_and_its_last_token_begins_the_path(chat):
    found = answered(chat, prompts=QUESTIONS)
    for question, document in zip(QUESTIONS, found, strict=True):
        expected = f"<|endoftext|><|user|>{question}<|end|><|assistant|>"
        assert text(chat, document, slice(document.start + 1)) == expected
        assert 1 <= len(document.tokens) - document.start - 1 <= 8


def test_the_end_of_a_turn_ends_an_answer(chat):
    end = chat.encode_chat([{"role": "user", "content": ""}], answer=False)[-1]
    assert chat.card.turn_ends == (end,)
    assert set(chat.card.ends) == {chat.card.eos, end}
    for document in answered(chat, prompts=QUESTIONS, answers=30, length=60):
        own = document.tokens[document.start + 1 :]
        assert not set(own[:-1]) & set(chat.card.ends)
        assert len(own) == 60 or own[-1] in chat.card.ends


def test_a_system_prompt_comes_first(chat):
    (found,) = answered(chat, prompts=["why?"], system="Be brief.")
    assert text(chat, found).startswith("<|endoftext|><|system|>Be brief.<|end|><|user|>why?")


def test_all_answers_to_one_prompt_form_a_group(chat):
    found = answered(chat, prompts=[*QUESTIONS, QUESTIONS[0]], answers=3)
    assert [document.group for document in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0, 0]
    assert len({document.tokens for document in found}) == 15


def test_without_the_template_prompts_are_plain_text(chat, base):
    expected = [(0, *base.encode(question)) for question in QUESTIONS]
    found = answered(base, prompts=QUESTIONS)
    assert [document.tokens[: document.start + 1] for document in found] == expected
    plain = answered(chat, prompts=QUESTIONS, template=False)
    assert [text(chat, d, slice(1, d.start + 1)) for d in plain] == QUESTIONS


def test_a_model_with_a_template_answers_the_shipped_questions_and_another_starts_after_bos(
    chat, base
):
    questions = shipped_questions()
    assert len(questions) == len(set(questions)) == 300
    assert all(question.strip() == question and len(question) < 80 for question in questions)
    found = answered(chat, documents_wanted=5)
    asked = [text(chat, d).split("<|user|>")[1].split("<|end|>")[0] for d in found]
    assert set(asked) <= set(questions)
    assert [questions.index(question) for question in asked] == sorted(
        questions.index(question) for question in asked
    )
    for document in (
        *answered(base, documents_wanted=5),
        *answered(chat, documents_wanted=5, template=False),
    ):
        assert document.tokens[0] == 0
        assert document.start == 0


def test_fewer_documents_are_some_of_the_prompts_by_the_seed(chat):
    def groups(seed):
        found = answered(chat, prompts=QUESTIONS, documents_wanted=2, seed=seed)
        return tuple(text(chat, d, slice(d.start + 1)) for d in found)

    assert groups(0) == groups(0)
    assert len({groups(seed) for seed in range(8)}) > 1
    assert len(answered(chat, prompts=QUESTIONS, answers=3, documents_wanted=4)) == 4


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("x.txt", "\n".join(QUESTIONS)),
        ("x.jsonl", "\n".join(json.dumps({"id": 1, "question": q}) for q in QUESTIONS)),
        (
            "x.json",
            json.dumps(
                [
                    {
                        "messages": [
                            {"role": "user", "content": q},
                            {"role": "assistant", "content": "x"},
                        ]
                    }
                    for q in QUESTIONS
                ]
            ),
        ),
        ("x.csv", "prompt,n\n" + "\n".join(f"{q},1" for q in QUESTIONS)),
    ],
)
def test_prompts_of_every_kind_of_file_are_the_same(chat, tmp_path, name, rows):
    (tmp_path / name).write_text(rows)
    assert answered(chat, prompts=str(tmp_path / name)) == answered(chat, prompts=QUESTIONS)


def test_a_conversation_of_several_turns_is_answered_after_its_last_question(chat, tmp_path):
    turns = [
        ("system", "s"),
        ("user", "a?"),
        ("assistant", "b"),
        ("user", "c?"),
        ("assistant", "d"),
    ]
    row = {"messages": [{"role": role, "content": content} for role, content in turns]}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    (found,) = answered(chat, prompts=str(tmp_path / "x.jsonl"))
    asked = text(chat, found, slice(found.start + 1))
    assert asked == (
        "<|endoftext|><|system|>s<|end|><|user|>a?<|end|><|assistant|>b<|end|><|user|>c?<|end|>"
        "<|assistant|>"
    )
    (other,) = answered(chat, prompts=str(tmp_path / "x.jsonl"), system="t")
    assert text(chat, other).startswith("<|endoftext|><|system|>t<|end|><|user|>a?")


def test_empty_prompts_and_those_that_fill_the_context_are_empty_documents(chat, tmp_path):
    rows = [{"prompt": "why?"}, {"prompt": None}, {"prompt": " "}, {"prompt": "the cat " * 60}]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = answered(chat, prompts=str(tmp_path / "x.jsonl"))
    assert sorted(bool(document.tokens) for document in found) == [False, False, False, True]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"answers": 0}, "answers must be at least 1"),
        ({"prompts": [" "]}, "all are empty"),
        ({"system": "s", "template": False}, "needs the chat template"),
        ({"top_k": -1}, "top-k must be at least 0"),
    ],
)
def test_settings_that_make_no_texts_are_refused_at_once(settings, message):
    with pytest.raises(UsageError, match=message):
        SampledSource(**settings)


def test_a_system_prompt_needs_a_template(base):
    with pytest.raises(UsageError, match="needs a chat template, but the model has none"):
        answered(base, system="s")
    with pytest.raises(UsageError, match="needs a chat template, but the model has none"):
        answered(base, prompts=QUESTIONS, system="s")


def test_columns_that_hold_no_prompts_are_refused(chat, tmp_path):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([{"a": "x", "b": "y"}]))
    with pytest.raises(UsageError, match=r"holds the prompts\? Give --column; there are a, b"):
        SampledSource(prompts=str(file)).check_input()
    with pytest.raises(UsageError, match="has no column 'c'"):
        SampledSource(prompts=str(file), column="c").check_input()
    for wrong in (3, ["x"], [{"role": "user"}], {"role": "user", "content": "x"}):
        file.write_text(json.dumps([{"prompt": wrong}]))
        with pytest.raises(UsageError, match="lists of messages with role and content"):
            SampledSource(prompts=str(file)).check_input()


def test_a_conversation_that_the_template_refuses_is_one_sentence(chat, tmp_path):
    (tmp_path / "x.json").write_text(
        json.dumps(
            [{"prompt": [{"role": "tool", "content": "1"}, {"role": "user", "content": "x"}]}]
        )
    )
    with pytest.raises(UsageError, match=r"of tool, user \(unknown role tool\)"):
        answered(chat, prompts=str(tmp_path / "x.json"))


def test_the_plan_says_what_the_model_is_given(chat, base, tmp_path):
    def planned(model, **settings):
        source = SampledSource(**settings)
        return plan_of(Job(layers="0"), model, source, tmp_path / "run", tmp_path).texts

    assert planned(base) == "512 sampled from the model at temperature 1"
    assert planned(chat, top_k=5) == (
        "up to 300 answers of the model to the 300 open questions of sdelens, in its chat "
        "template, sampled at temperature 1, top-k 5"
    )
    twelve = [f"What is {number}?" for number in range(12)]
    assert planned(base, prompts=twelve, answers=2) == (
        "up to 24 answers of the model to 12 prompts, 2 each, as plain text, sampled at "
        "temperature 1"
    )
    with pytest.raises(UsageError, match=r"at least 10 documents \(or prompts\).* got 3"):
        planned(chat, prompts=["a", "b", " ", "c"])
    with pytest.raises(UsageError, match="needs a chat template, but the model has none"):
        planned(base, prompts=twelve, system="Be brief.")


def test_the_sampler_of_a_source_has_all_its_settings():
    sampler = Sampler(0.7, 0.9, True, 50, 0.05, 1.1)
    source = SampledSource(
        temperature=0.7, top_p=0.9, ignore_eos=True, top_k=50, min_p=0.05, repetition_penalty=1.1
    )
    assert source.sampling_settings() == sampler
