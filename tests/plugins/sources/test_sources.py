"""Where documents come from."""

import json
import os
import subprocess
import sys

import pandas
import pytest

from sdelens.errors import UnknownName, UsageError
from sdelens.protocols import Source
from sdelens.states.capturing import encode_document
from sdelens_plugins.sources.dataset import DatasetSource
from sdelens_plugins.sources.file import FileSource
from sdelens_plugins.sources.sampled import SampledSource
from tests.plugins.sources.files import TEXTS, read


def write(folder, kind, texts, column="text"):
    file = folder / f"texts.{kind}"
    table = pandas.DataFrame({column: texts})
    if kind == "txt":
        file.write_text("\n\n".join(texts), encoding="utf-8")
    elif kind == "csv":
        table.to_csv(file, index=False)
    elif kind == "parquet":
        table.to_parquet(file)
    else:
        table.to_json(file, orient="records", lines=kind == "jsonl", force_ascii=False)
    return file


@pytest.mark.parametrize("kind", ["txt", "jsonl", "json", "csv", "parquet"])
def test_every_kind_of_file_gives_the_same_documents(tmp_path, stories, kind):
    texts = [text for text in TEXTS if text != "12"] if kind == "csv" else TEXTS
    found = read(FileSource(str(write(tmp_path, kind, texts))), stories)
    assert {d.tokens for d in found} == {tuple(encode_document(stories, text)) for text in texts}
    assert len(found) == len(texts)


def test_kinds_agree_on_the_order_too(tmp_path, stories):
    texts = TEXTS[:4]
    kinds = ("txt", "jsonl", "json", "csv", "parquet")
    found = [read(FileSource(str(write(tmp_path, k, texts))), stories, seed=3) for k in kinds]
    assert all(documents == found[0] for documents in found)
    assert found[0] != read(FileSource(str(tmp_path / "texts.txt")), stories, seed=4)


def test_lines_are_documents_where_there_is_no_blank_one(tmp_path, stories):
    file = tmp_path / "lines.TXT"
    file.write_text("\ufeffone line\nanother line\n", encoding="utf-8")
    assert len(read(FileSource(str(file)), stories)) == 2
    file.write_text("one\nparagraph\n \nanother\n\n\nthird\n", encoding="utf-8")
    assert len(read(FileSource(str(file)), stories)) == 3


def test_no_more_documents_and_tokens_than_asked_for(tmp_path, stories):
    file = write(tmp_path, "jsonl", ["Once upon a time there was a cat"] * 9)
    found = read(FileSource(str(file), documents_wanted=4, length=3), stories)
    assert [len(d.tokens) for d in found] == [4] * 4  # BOS and three tokens


def test_the_column_is_chosen_or_found(tmp_path, stories):
    file = write(tmp_path, "csv", TEXTS[:2], column="story")
    assert len(read(FileSource(str(file)), stories)) == 2
    pandas.DataFrame({"story": TEXTS[:2], "title": ["x y z", "y z x"]}).to_csv(file, index=False)
    with pytest.raises(UsageError, match="Give --column; there are story, title"):
        read(FileSource(str(file)), stories)
    titles = read(FileSource(str(file), column="title"), stories)
    assert {d.tokens for d in titles} == {
        tuple(encode_document(stories, t)) for t in ("x y z", "y z x")
    }


def test_a_missing_column_is_named_beside_those_there_are(tmp_path, stories):
    file = write(tmp_path, "jsonl", TEXTS)
    with pytest.raises(UsageError, match="has no column 'story': its columns are text"):
        read(FileSource(str(file), column="story"), stories)


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_a_column_that_holds_no_texts_is_refused(tmp_path, stories, kind):
    file = write(tmp_path, kind, [1, 2, 3])
    with pytest.raises(UsageError, match="column 'text' must hold texts, got a int"):
        read(FileSource(str(file)), stories)


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_rows_without_a_text_are_empty_documents_and_not_counted(tmp_path, stories, kind):
    file = write(tmp_path, kind, ["a text", None, "", "another"])
    found = read(FileSource(str(file)), stories)
    assert sorted(len(d.tokens) > 1 for d in found) == [False, False, True, True]
    first = read(FileSource(str(file), documents_wanted=1), stories)
    assert [len(d.tokens) > 1 for d in first].count(True) == 1


def test_a_prompt_without_a_response_is_an_empty_document(tmp_path, stories):
    file = tmp_path / "x.json"
    rows = [{"prompt": "Why?", "responses": ["So.", None]}, {"prompt": "Why?", "responses": None}]
    file.write_text(json.dumps(rows))
    found = read(FileSource(str(file)), stories)
    assert sorted(len(d.tokens) > 1 for d in found) == [False, False, True]
    assert {d.start for d in found if len(d.tokens) == 1} == {0}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.txt", None, "is not a file"),
        ("x.docx", "text", "must be one of .txt, .jsonl"),
        ("x.txt", "", "is empty: there is no text"),
        ("x.txt", " \n\n ", "contains no rows"),
        ("x.csv", "text\n", "contains no rows"),
        ("x.json", "[]", "contains no rows"),
        ("x.json", '{"text": "a"}', "expected a list of objects, got a dict"),
        ("x.json", "[1, 2]", "expected objects or texts"),
        ("x.json", '[{"text": ', "cannot be read as .json"),
        ("x.jsonl", '{"text": "a"}\nnot json\n', "cannot be read as .jsonl: line 2 is not JSON"),
        ("x.jsonl", '"a"\n' + '{"a":' * 5000 + "1" + "}" * 5000, "line 2 is nested too deeply"),
        ("x.json", "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("x.json", '["a", [1]]', "got a list in row 2"),
        ("x.csv", "text,x\na,1\nb,2,3\n", "cannot be read as .csv"),
        ("x.parquet", "not parquet", "cannot be read as .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, stories, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=message.replace(".", r"\.")):
        read(FileSource(str(tmp_path / name)), stories)


@pytest.mark.parametrize("kind", ["txt", "jsonl", "json", "csv"])
def test_bytes_that_are_no_utf8_are_refused_with_their_line(tmp_path, stories, kind):
    (tmp_path / f"x.{kind}").write_bytes("text\r\ncaf\u00e9 au lait".encode("latin-1"))
    said = rf"cannot be read as \.{kind}: line 2 is not UTF-8 \(byte 0xe9\)"
    with pytest.raises(UsageError, match=said):
        read(FileSource(str(tmp_path / f"x.{kind}")), stories)


def test_half_characters_become_a_replacement_character(tmp_path, stories):
    file = tmp_path / "x.jsonl"
    file.write_text('{"text": "a \\ud83d cat", "\\udc00": 3, "title": "t"}\n')
    (found,) = read(FileSource(str(file)), stories)
    assert found.tokens == tuple(encode_document(stories, "a \ufffd cat"))
    assert found.annotations == {"\ufffd": 3.0}
    file.write_text('{"text": "a \\ud83d\\ude00 cat"}\n')
    (whole,) = read(FileSource(str(file)), stories)
    assert whole.tokens == tuple(encode_document(stories, "a \U0001f600 cat"))


def test_a_column_without_texts_names_the_row(tmp_path, stories):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": {"deep": 1}}\n')
    with pytest.raises(UsageError, match="got a dict in row 2"):
        read(FileSource(str(tmp_path / "x.jsonl")), stories)


def test_a_prompt_that_fills_the_context_leaves_nothing_to_record(tmp_path, char_gpt2):
    file = tmp_path / "x.json"
    file.write_text(json.dumps([{"prompt": "x" * 60, "response": "yes"}]))
    (document,) = read(FileSource(str(file)), char_gpt2)
    assert len(document.tokens) == document.start == 48


def test_sampled_texts_are_a_source_like_any_other(char_gpt2):
    source = SampledSource(documents_wanted=5, length=10)
    assert isinstance(source, Source)
    found = read(source, char_gpt2)
    assert len(found) == 5
    assert found == read(source, char_gpt2)
    assert found != read(source, char_gpt2, seed=1)


def test_a_dataset_in_a_local_folder_is_read_by_split(tmp_path, stories, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "stories-set"
    folder.mkdir()
    for split, texts in (("train", TEXTS[:2]), ("test", TEXTS[2:4])):
        pandas.DataFrame({"text": texts}).to_json(
            folder / f"{split}.jsonl", orient="records", lines=True
        )
    for split, texts in (("train", TEXTS[:2]), ("test", TEXTS[2:4])):
        found = read(DatasetSource(str(folder), split), stories)
        assert {d.tokens for d in found} == {
            tuple(encode_document(stories, text)) for text in texts
        }
    with pytest.raises(UsageError, match="Unknown split"):
        read(DatasetSource(str(folder), "validation"), stories)
    with pytest.raises(UsageError, match="has no column 'story'"):
        read(DatasetSource(str(folder), "train", column="story"), stories)


def test_a_dataset_folder_that_is_not_there_is_an_unknown_name(stories, tmp_path):
    with pytest.raises(UnknownName, match="no dataset named"):
        read(DatasetSource(str(tmp_path / "absent")), stories)


@pytest.mark.parametrize("offline", [False, True])
def test_a_dataset_on_a_hub_that_cannot_be_reached_is_soon_said_to_be(tmp_path, offline):
    # 3 s alone; datasets by itself would retry for 23 s and more
    code = (
        "import sys; from sdelens.errors import SdelensError\n"
        "from sdelens_plugins.sources.dataset import DatasetSource\n"
        f"try: list(DatasetSource('someone/stories', offline={offline}).documents(None, seed=0))\n"
        "except SdelensError as error: print(error.exit_code, error)"
    )
    hidden = ("HF_HUB_OFFLINE", "HF_TOKEN", "HF_HUB_CACHE", "HF_DATASETS_OFFLINE")
    rest = {name: value for name, value in os.environ.items() if name not in hidden}
    settings = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", code]
    out = subprocess.run(
        command, env=rest | settings, capture_output=True, text=True, check=True, timeout=20
    ).stdout
    assert out.startswith("4 "), out
    assert ("--offline was given" in out) == offline
    assert "someone/stories" in out
    assert "--texts FILE" in out


@pytest.mark.parametrize("content", [b'"a"\n' + b"[" * 5000, b'{"text": "caf\xe9"}\n', b""])
def test_a_damaged_dataset_is_one_sentence(tmp_path, stories, monkeypatch, content):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "stories-set").mkdir()
    (tmp_path / "stories-set" / "train.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match="stories-set, split 'train', cannot be read"):
        read(DatasetSource(str(tmp_path / "stories-set")), stories)
