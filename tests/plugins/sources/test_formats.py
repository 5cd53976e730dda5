"""Compressed files, separators of tables, streams, and BOS."""

import json

import pyarrow
import pytest

from sdelens.errors import UsageError
from sdelens.models import language_model
from sdelens_plugins.models.words import Words
from sdelens_plugins.sources.dataset import DatasetSource
from sdelens_plugins.sources.file import FileSource, read_rows, separator_of
from tests.plugins.sources.files import TEXTS, read
from tests.small import small_model


@pytest.mark.parametrize("kind", ["gz", "zst", "GZ"])
def test_compressed_files_are_the_same_as_others(tmp_path, kind):
    content = "\n".join(json.dumps({"text": text}) for text in TEXTS).encode()
    (tmp_path / "x.jsonl").write_bytes(content)
    file = tmp_path / f"x.jsonl.{kind}"
    with pyarrow.output_stream(str(file), "zstd" if kind == "zst" else "gzip") as out:
        out.write(content)
    assert read_rows(file) == read_rows(tmp_path / "x.jsonl")


@pytest.mark.parametrize("name", ["x.txt.gz", "x.jsonl.zst"])
def test_a_file_that_is_not_compressed_as_its_name_says_is_refused(tmp_path, name):
    (tmp_path / name).write_text('"text"')
    with pytest.raises(UsageError, match="cannot be read as"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_table_is_split_at_its_own_separator(tmp_path, separator):
    rows = [("id", "text"), ("1", '"one, two; three"'), ("2", "four")]
    (tmp_path / "x.csv").write_text("\n".join(separator.join(row) for row in rows))
    found = read_rows(tmp_path / "x.csv")
    assert [row["text"] for row in found] == ["one, two; three", "four"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("text\na; b\nc; d\n", ","),
        ("a,b;c\n1,2;3\n4,5\n", ","),
        ("a;b,c\n1;2\n3;4,5\n", ";"),
        ("a;b\n1;x, y\n2;z\n", ";"),
        ("", ","),
    ],
)
def test_the_separator_is_the_one_that_gives_every_line_equally_many_cells(text, expected):
    assert separator_of(text) == expected


@pytest.fixture
def folder(tmp_path):
    """A dataset of 200 numbered texts, some of them null."""
    rows = [{"text": None if k % 10 == 3 else f"text {k} of many"} for k in range(200)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return str(tmp_path / "data")


def test_a_stream_gives_the_first_rows_or_some_in_random_order(folder, stories):
    def numbers(stream):
        source = DatasetSource(folder, documents_wanted=20, stream=stream)
        found = [d.tokens for d in read(source, stories) if len(d.tokens) > 1]
        known = {tuple(stories.encode(f"text {k} of many")): k for k in range(200)}
        return [known[tokens[1:]] for tokens in found]

    first = [k for k in range(200) if k % 10 != 3][:20]
    assert numbers("first") == first
    shuffled, whole = numbers("shuffle"), numbers("no")
    assert len(set(shuffled)) == len(set(whole)) == 20
    assert sorted(shuffled) != first
    assert sorted(whole) != first


def test_a_stream_reads_no_more_rows_than_it_needs(folder, stories, monkeypatch):
    source = DatasetSource(folder, documents_wanted=2, stream="first")
    taken = []
    endless = ({"text": taken.append(k) or "a"} for k in range(99))
    monkeypatch.setitem(source.__dict__, "_table", (["text"], endless))
    assert len(read(source, stories)) == len(taken) == 2


def test_a_missing_configuration_or_split_is_one_sentence(folder):
    with pytest.raises(UsageError, match="cannot be read"):
        DatasetSource(folder, split="nowhere", stream="first").check_input()
    with pytest.raises(UsageError, match="cannot be read"):
        DatasetSource(folder, config="other").check_input()


class Tokens:
    """A tokenizer with chosen special tokens, which may prepend BOS."""

    def __init__(self, bos, eos, *, prepends):
        self.bos_token_id, self.eos_token_id, self.prepends = bos, eos, prepends

    def __call__(self, text, **_):
        return {"input_ids": [self.bos_token_id, 9] if self.prepends else [9]}


@pytest.mark.parametrize(
    ("bos", "eos", "prepends", "auto"),
    [(1, 2, True, 1), (1, 2, False, None), (0, 0, False, 0), (None, 2, False, None)],
    ids=["Llama", "SmolLM2", "GPT-2", "Qwen"],
)
def test_bos_follows_the_tokenizer_unless_it_is_set(bos, eos, prepends, auto):
    tokenizer = Tokens(bos, eos, prepends=prepends)
    assert Words(tokenizer).first == auto
    assert Words(tokenizer, "never").first is None
    if bos is None:
        with pytest.raises(UsageError, match="--bos always needs a BOS token"):
            _ = Words(tokenizer, "always").first
    else:
        assert Words(tokenizer, "always").first == bos


def test_texts_begin_with_bos_as_the_model_was_loaded(tmp_path):
    folder = small_model(tmp_path / "m")
    (tmp_path / "x.txt").write_text("the cat\n\na bird\n")
    for bos, first in (("auto", 0), ("always", 0), ("never", None)):
        model = language_model(folder, device="cpu", bos=bos)
        assert model.card.bos == first
        found = read(FileSource(str(tmp_path / "x.txt")), model)
        assert all((document.tokens[0] == 0) == (first == 0) for document in found)
