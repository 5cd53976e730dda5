"""Damaged run folders, opened through every reader."""

import pytest

from tests.campaigns.mutations import campaign, finished_run


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    return finished_run(tmp_path_factory.mktemp("mutated"))


def test_a_damaged_file_gives_the_right_result_or_one_sentence(run, tmp_path):
    assert campaign(run, 25, 0, tmp_path) == []


@pytest.mark.slow
def test_two_thousand_damaged_files(run, tmp_path):
    assert campaign(run, 2000, 10_000, tmp_path) == []
