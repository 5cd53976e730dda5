"""Given answers to prompts, and conversations, in columns of files."""

import json

import pytest

from sdelens.errors import UsageError
from sdelens_plugins.sources.file import FileSource


@pytest.fixture
def read(chat, tmp_path):
    """The documents of rows, in their order."""

    def documents(*rows, **settings):
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        found = FileSource(str(file), **settings).documents(chat, seed=0)
        return sorted(found, key=lambda document: len(document.tokens))

    return documents


def parts(model, document):
    """The context up to the first state, and the answer."""
    words = model.decode(document.tokens)
    return "".join(words[: document.start + 1]), "".join(words[document.start + 1 :])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "why?", "response": "so"},
        {"question": "why?", "answer": "so"},
        {"prompt": "why?", "responses": ["so"], "id": 3},
        {
            "messages": [
                {"role": "user", "content": "why?"},
                {"role": "assistant", "content": "so"},
            ]
        },
    ],
    ids=["response", "answer", "responses", "messages"],
)
def test_an_answer_is_read_in_the_template_and_ends_with_its_turn(read, chat, row):
    (found,) = read(row)
    asked = "<|endoftext|><|user|>why?<|end|><|assistant|>"
    assert parts(chat, found) == (asked, "so<|end|>")
    (cut,) = read(row, length=1)
    assert len(cut.tokens) == cut.start + 2


def test_without_the_template_a_blank_line_is_between_prompt_and_answer(read, chat):
    (found,) = read({"question": "why?", "answer": "so"}, template=False)
    assert parts(chat, found) == ("<|endoftext|>why?\n\n", "so")


def test_every_message_of_the_assistant_is_a_document_in_one_group(read, chat):
    turns = ["system", "user", "assistant", "user", "assistant", "user"]
    messages = [{"role": role, "content": f"{number}"} for number, role in enumerate(turns)]
    other = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "a cat " * 9}]
    first, second, third = read({"messages": messages}, {"messages": other})
    opening = "<|endoftext|><|system|>0<|end|><|user|>1<|end|><|assistant|>"
    assert parts(chat, first) == (opening, "2<|end|>")
    assert parts(chat, second) == (
        f"{opening}2<|end|><|user|>3<|end|><|assistant|>",
        "4<|end|>",
    )
    assert first.group == second.group != third.group


def test_a_conversation_without_an_answer_is_empty(read):
    row = {"messages": [{"role": "user", "content": "x"}]}
    assert [document.tokens for document in read(row, {"messages": []}, {"messages": None})] == [
        (),
        (),
        (0,),
    ]


def test_messages_of_another_form_are_refused(read):
    for wrong in ([{"role": "user"}], [{"from": "human", "value": "x"}]):
        with pytest.raises(UsageError, match="lists of messages with role and content"):
            read({"messages": wrong})


def test_an_answer_that_the_context_cuts_off_has_no_states(read, chat):
    (found,) = read({"prompt": "the cat sat " * 60, "response": "so"})
    assert len(found.tokens) == found.start == chat.card.context
