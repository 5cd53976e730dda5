"""Classes of tokens, against what a reader would say."""

import pytest

from sdelens.language.token_class import TokenClass, begins_word, classify

F, C, P, FIRST, ON, OTHER = TokenClass


def test_a_sentence_has_the_classes_that_a_reader_gives_it():
    tokens = ["<s>", " The", " bun", "ny", " hopped", " over", " it", ",", " un", "happ", "ily"]
    assert classify([*tokens, ".", "\n"]) == [
        *(OTHER, F, FIRST, ON, C, F, F, P),
        *(FIRST, ON, ON, P, OTHER),
    ]


def test_single_letters_spell_words():
    assert classify(list("to be, I")) == [FIRST, ON, OTHER, FIRST, ON, P, OTHER, F]


@pytest.mark.parametrize("token", ["<|endoftext|>", "</s>", "[SEP]", " ", "\n\n", ""])
def test_blanks_and_special_tokens_are_neither_words_nor_punctuation(token):
    assert classify([" a", token, "b"])[1] is OTHER


@pytest.mark.parametrize("token", ["<", ">", "[", "...", "'", " -", "?!"])
def test_signs_are_punctuation(token):
    assert classify([" one", token, " two"]) == [C, P, C]


def test_an_apostrophe_with_letters_goes_on_and_a_lone_one_does_not():
    assert classify([" don", "'t", " go"]) == [FIRST, ON, C]
    assert classify([" dogs", "'", " tails"]) == [C, P, C]
    assert classify([" don't"]) == [F]


def test_words_after_a_special_token_begin_anew():
    assert begins_word(["<s>", "Once", "s"]) == [True, True, False]


def test_case_and_marks_do_not_hide_a_function_word():
    assert classify([" The", '"And', " BUT"]) == [F, F, F]


def test_nothing_has_no_classes():
    assert classify([]) == []
