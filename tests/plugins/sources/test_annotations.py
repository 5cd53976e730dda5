"""Prompts with responses, and the numbers beside a text."""

import json

import pandas
import pytest

from sdelens.paths.documents import Documents
from sdelens.states.capturing import encode_document
from sdelens_plugins.sources.dataset import DatasetSource
from sdelens_plugins.sources.file import FileSource
from sdelens_plugins.sources.rows import Columns, annotations, documents_of_rows
from tests.plugins.sources.files import TEXTS, read

MANY = {"documents": 10_000, "length": 40, "seed": 0}


def test_responses_follow_their_prompt_and_share_its_group(shared, stories):
    file = shared / "data" / "helpsteer2" / "eval.json"
    rows = json.loads(file.read_text())
    source = FileSource(str(file), documents_wanted=10_000, length=40)
    found = read(source, stories)
    assert len(found) == sum(len(row["responses"]) for row in rows)
    prompts = {row["prompt"]: row for row in rows}
    assert len({d.group for d in found}) == len(prompts)
    by_tokens = {d.tokens: d for d in found}
    room = stories.card.context - 41
    short = [row for row in rows if len(encode_document(stories, row["prompt"] + "\n\n")) < room][
        :20
    ]
    assert short
    for row in short:
        asked = encode_document(stories, row["prompt"] + "\n\n")
        for response in row["responses"]:
            ids = (*asked, *stories.encode(response)[:40])
            assert by_tokens[ids].start == len(asked) - 1, "recorded from its last token"
    documents = Documents.of(found)
    assert int(documents.lengths.max()) <= stories.card.context
    assert (documents.start <= documents.lengths).all()


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_lists_of_responses_and_one_row_for_each_are_the_same(tmp_path, stories, kind):
    lists = [
        {"prompt": "Who?", "responses": ["The cat did it", "I do not know that"]},
        {"prompt": "When?", "responses": ["Last night"]},
    ]
    single = [
        {"prompt": row["prompt"], "response": text} for row in lists for text in row["responses"]
    ]
    found = []
    for rows in (lists, single):
        file = tmp_path / f"{len(found)}.{kind}"
        table = pandas.DataFrame(rows)
        table.to_parquet(file) if kind == "parquet" else table.to_json(file, orient="records")
        found.append(read(FileSource(str(file)), stories))
    one, two = ({(d.tokens, d.start) for d in documents} for documents in found)
    assert one == two
    for documents in found:
        prompt = {d.tokens[: d.start + 1]: d.group for d in documents}
        assert len(set(prompt.values())) == len(prompt) == 2


def test_ratings_of_responses_go_with_each(shared, stories):
    file = shared / "data" / "helpsteer2" / "eval.json"
    rows = json.loads(file.read_text())[:40]
    found = list(documents_of_rows(rows, Columns("responses", "prompt"), stories, **MANY))
    expected = [rating for row in rows for rating in row["labels"]]
    came = sorted(tuple(document.annotations.items()) for document in found)
    assert came == sorted(tuple(rating.items()) for rating in expected)
    by_tokens = {d.tokens: d.annotations for d in found}
    row = min(rows, key=lambda row: len(row["prompt"]))
    asked = encode_document(stories, row["prompt"] + "\n\n")
    for response, rating in zip(row["responses"], row["labels"], strict=True):
        assert by_tokens[*asked, *stories.encode(response)[:40]] == rating


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
def test_numbers_beside_a_text_are_its_annotations(tmp_path, stories, kind):
    file = tmp_path / f"x.{kind}"
    rated = pandas.DataFrame(
        {"text": TEXTS[:3], "score": [1, 2.5, None], "by": ["me", "you", "us"], "id": [7, 8, 9]}
    )
    writers = {"csv": rated.to_csv, "parquet": rated.to_parquet}
    if kind in writers:
        writers[kind](file, index=False)
    else:
        rated.to_json(file, orient="records", lines=kind == "jsonl")
    found = {d.tokens: d.annotations for d in read(FileSource(str(file)), stories)}
    expected = [{"score": 1.0, "id": 7.0}, {"score": 2.5, "id": 8.0}, {"id": 9.0}]
    assert found == {
        tuple(encode_document(stories, t)): e for t, e in zip(TEXTS[:3], expected, strict=True)
    }


def test_a_dataset_has_annotations_too(tmp_path, stories, monkeypatch):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "rated-set"
    folder.mkdir()
    rated = pandas.DataFrame({"text": TEXTS[:3], "score": [1, 2.5, None]})
    rated.to_json(folder / "train.jsonl", orient="records", lines=True)
    found = {d.tokens: d.annotations for d in read(DatasetSource(str(folder)), stories)}
    expected = [{"score": 1.0}, {"score": 2.5}, {}]
    assert found == {
        tuple(encode_document(stories, t)): e for t, e in zip(TEXTS[:3], expected, strict=True)
    }


def test_numbers_that_are_none_are_no_annotations():
    row = {"a": float("nan"), "b": float("inf"), "c": 10**400, "d": True, "e": "1", "f": [1, 2]}
    assert annotations(row) == {"e": 1.0}
    assert annotations(row, {"e"}) == {}


def test_a_name_that_occurs_twice_is_said_with_its_objects():
    row = {"complexity": 1, "labels": {"complexity": 4, "coherence": 2}}
    assert annotations(row) == {"complexity": 1.0, "labels.complexity": 4.0, "coherence": 2.0}


def test_a_table_with_gaps_keeps_its_texts_and_its_ratings(tmp_path, stories):
    file = tmp_path / "x.csv"
    file.write_text('text,score\n007,1\n"",NA\na cat,2.5\n')
    found = read(FileSource(str(file), column="text"), stories)
    expected = {"007": {"score": 1.0}, "": {}, "a cat": {"score": 2.5}}
    assert {d.tokens: d.annotations for d in found} == {
        tuple(encode_document(stories, text)): notes for text, notes in expected.items()
    }
