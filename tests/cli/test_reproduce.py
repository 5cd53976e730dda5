"""The figures of a paper, remade."""

import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

from sdelens.interfaces import load
from sdelens.runs import reproduction
from sdelens.runs.reproduction import EXHIBITS, QUESTION, reproduce
from sdelens.runs.run import Run
from sdelens.runs.run_analyzers import analyze

QUICK = {
    "uncertainty": {"documents": 4},
    "importance": {"documents": 2, "nodes": 2},
    "vector_field": {"starts": 4, "cells": 6},
    "generate": {"documents": 2, "paths": 2, "tokens": 4, "start": "mean"},
    "trajectory": {"paths": 4, "documents": 4},
}


@pytest.fixture(scope="module")
def folder(finished, tmp_path_factory):
    """Where a finished run of one layer lies, and its figures will."""
    folder = tmp_path_factory.mktemp("reproduction")
    shutil.copytree(finished, folder / "run")
    (folder / "run" / "fits" / "L00" / "DONE").unlink()
    return folder


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Settings that make answers short."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduction, "SETTINGS", QUICK)
        yield


@pytest.fixture(scope="module")
def remade(folder):
    return reproduce(Run(folder / "run"), folder)


def test_seven_figures_and_the_example_are_there_for_every_layer(remade):
    shown = {
        (label, finding.view)
        for label, finding in zip(remade.labels, remade.findings, strict=True)
    }
    assert shown == {(exhibit.name, view) for exhibit in EXHIBITS for view in ("L02",)}
    numbers = {word for label in remade.labels for word in re.findall(r"Figure (\d)", label)}
    assert numbers == set("1234567")
    assert any("Appendix B" in label for label in remade.labels)


def test_every_pattern_names_a_figure(remade):
    found = {exhibit.analyzer: set() for exhibit in EXHIBITS}
    for finding in remade.findings:
        found[finding.analyzer] |= {figure.name for figure in finding.figures}
    optional = {"epistemic*"}  # of an ensemble
    for exhibit in EXHIBITS:
        for pattern in set(exhibit.figures) - optional:
            assert any(fnmatch(name, pattern) for name in found[exhibit.analyzer]), pattern


def test_each_figure_lies_there_as_picture_drawing_and_numbers(remade, folder):
    pictures = sorted(file.stem for file in (folder / "figures").glob("*.png"))
    assert len(pictures) == sum(len(finding.figures) for finding in remade.findings)
    for kind in ("svg", "csv"):
        assert sorted(file.stem for file in (folder / "figures").glob(f"*.{kind}")) == pictures


def test_the_page_names_the_files_of_its_numbers_and_has_the_data_of_its_figures(remade, folder):
    page = Path(load("reporter", "html")().render(remade, folder)).read_text()
    files = re.findall(r"<code>([^<]+\.json)</code>", page)
    assert len(files) > len(EXHIBITS)
    assert [file for file in files if not (folder / file).is_file()] == []
    assert page.count('href="data:text/csv') >= sum(len(f.figures) for f in remade.findings)


def test_what_was_asked_otherwise_is_asked_again_and_nothing_else(remade, folder):
    run = Run(folder / "run")
    analyze(
        run,
        ["generate"],
        prompt=QUESTION,
        settings={"generate": QUICK["generate"] | {"tokens": 3}},
    )
    files = {
        file: file.stat().st_mtime_ns for file in run.folder.glob("analysis/*/*/finding.json")
    }
    again = reproduce(run, folder)
    changed = {file for file, time in files.items() if file.stat().st_mtime_ns != time}
    assert {file.parents[1].name for file in changed} == {"generate"}
    assert len(files) > len(changed)
    assert [f.headline for f in again.findings] == [f.headline for f in remade.findings]
    said = [[len(strip.tokens) for strip in f.strips] for f in again.findings]
    assert said == [[len(strip.tokens) for strip in f.strips] for f in remade.findings]


def test_another_study_is_unknown(sdelens):
    done = sdelens("reproduce", "papers")
    assert done.returncode == 3
    assert "Did you mean 'paper'?" in done.stderr


def test_texts_and_their_column_are_checked_first(sdelens):
    assert sdelens("reproduce", "paper", "--texts", "nowhere.json").returncode == 2
    done = sdelens("reproduce", "paper", "--column", "response")
    assert done.returncode == 2
    assert "give --texts" in done.stderr
