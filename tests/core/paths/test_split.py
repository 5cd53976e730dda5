import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdelens.errors import UsageError
from sdelens.paths.split import first_new, prefix_keys, split


def test_every_document_is_on_exactly_one_side():
    sides = split(range(100), seed=0)
    everyone = [*sides.train, *sides.validation, *sides.test]
    assert sorted(everyone) == list(range(100))
    assert list(map(len, (sides.train, sides.validation, sides.test))) == [80, 10, 10]


@given(sizes=st.lists(st.integers(1, 5), min_size=10, max_size=40), seed=st.integers(0, 2**31))
@settings(max_examples=30, deadline=None)
def test_no_group_is_on_two_sides(sizes, seed):
    groups = [1000 - name for name, size in enumerate(sizes) for _ in range(size)]
    sides = split(groups, seed=seed)
    held = [{groups[i] for i in side} for side in (sides.train, sides.validation, sides.test)]
    assert sum(map(len, held)) == len(set(groups))
    assert all(held)
    assert len(held[1]) == len(held[2]) == max(1, round(len(sizes) / 10))


def test_the_seed_fixes_the_split():
    first, again, other = (split(range(50), seed=seed) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_documents_of_a_side_are_in_their_own_order():
    sides = split(range(50), seed=0)
    assert all(list(side) == sorted(side) for side in vars(sides).values())


def test_nine_groups_are_too_few_however_many_documents_they_hold():
    with pytest.raises(UsageError, match=r"at least 10 documents.*got 9"):
        split([group for group in range(9) for _ in range(100)], seed=0)


def documents(max_size=6):
    """Token ids of a vocabulary of two, so that prefixes repeat."""
    path = st.lists(st.integers(0, 1), min_size=1, max_size=max_size)
    return st.lists(path, min_size=2, max_size=12)


def padded(paths):
    width = max(map(len, paths))
    return torch.tensor([[*path, *[-1] * (width - len(path))] for path in paths])


@given(paths=documents())
@settings(max_examples=60, deadline=None)
def test_keys_are_equal_exactly_where_prefixes_are(paths):
    tokens = padded(paths)
    keys = prefix_keys(tokens)
    key_of = {}
    for row, key_row in zip(tokens.tolist(), keys.tolist(), strict=True):
        for end, key in enumerate(key_row, start=1):
            assert key_of.setdefault(tuple(row[:end]), key) == key
    assert len(set(key_of.values())) == len(key_of)


@given(paths=documents(), data=st.data())
@settings(max_examples=60, deadline=None)
def test_first_new_is_the_end_of_the_longest_prefix_seen_in_training(paths, data):
    count = len(paths)
    train = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
    chosen = [i for i in range(count) if i not in train]
    tokens = padded(paths)
    rows = tokens.tolist()
    known = {tuple(rows[i][:end]) for i in train for end in range(1, len(rows[i]) + 1)}
    expected = {}
    for i in chosen:
        seen = [tuple(rows[i][:end]) in known for end in range(1, len(rows[i]) + 1)]
        expected[i] = seen.index(False) if False in seen else len(seen)
    assert first_new(tokens, train, chosen) == expected


def test_an_exact_duplicate_has_nothing_new_and_a_longer_copy_starts_where_it_goes_on():
    tokens = padded([[5, 6, 7], [5, 6, 7], [5, 6, 7, 8], [9, 6, 7]])
    assert first_new(tokens, [0], [1, 2, 3]) == {1: 4, 2: 3, 3: 0}


def test_a_vocabulary_beyond_32_bits_of_keys_does_not_clash():
    ids = torch.tensor([[50_000, 49_999], [50_000, 49_998]])
    narrow, wide = prefix_keys(ids.int()), prefix_keys(ids)
    assert torch.equal(narrow, wide)
    assert len(wide.unique()) == 3


def test_keys_of_many_positions_and_tokens_are_all_different():
    tokens = torch.arange(2000)[:, None].expand(2000, 50).contiguous()
    assert len(prefix_keys(tokens).unique()) == tokens.numel()
