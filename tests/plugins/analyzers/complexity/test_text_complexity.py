"""Measures of texts that can be counted by hand."""

import math

import pytest

from sdelens_plugins.analyzers.complexity.text_complexity import (
    MIN_WORDS,
    WINDOW,
    TextComplexity,
    type_token_ratio,
)

PLAIN = "The dog ran. The cat sat. The bird flew away."
NESTED = "The dog, which was old, ran because the cat that sat there hissed; it was late."


def test_a_plain_text_is_counted_as_by_hand():
    found = TextComplexity.of(PLAIN)
    assert found.sentence_length == pytest.approx(10 / 3)
    assert found.clauses == 1
    assert found.diversity == pytest.approx(8 / 10)
    assert found.word_length == pytest.approx(33 / 10)


def test_nested_clauses_count():
    assert TextComplexity.of(NESTED).clauses == 5
    assert TextComplexity.of(NESTED).sentence_length == 16


def test_a_number_does_not_end_a_sentence_and_a_blank_line_does():
    assert TextComplexity.of("It cost 3.50 in all, he said").sentence_length == 8
    assert TextComplexity.of("one two three\n\nfour five six").sentence_length == 3


def test_the_moving_average_is_that_of_all_windows():
    words = [str(i * i % 17) for i in range(80)]
    windows = [words[i : i + WINDOW] for i in range(80 - WINDOW + 1)]
    expected = sum(len(set(window)) / WINDOW for window in windows) / len(windows)
    assert type_token_ratio(words) == pytest.approx(expected, rel=1e-12)


def test_the_ratio_does_not_fall_with_length_as_the_plain_one_does():
    cycle = [str(i) for i in range(WINDOW)]
    assert type_token_ratio(cycle * 8) == type_token_ratio(cycle * 2) == 1


def test_too_few_words_have_no_measures():
    short = TextComplexity.of("a b c d ...")
    assert MIN_WORDS == 5
    assert all(math.isnan(value) for value in vars(short).values())
