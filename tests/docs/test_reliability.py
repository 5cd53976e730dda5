"""The page on reliability is made of measured counts."""

import json

from tests.campaigns.__main__ import CAMPAIGNS, DATA, PAGE, page


def test_the_page_is_made_of_its_data():
    assert PAGE.read_text() == page(json.loads(DATA.read_text()))


def test_every_campaign_is_in_the_table_and_held():
    known = json.loads(DATA.read_text())
    assert list(known) == list(CAMPAIGNS)
    for campaign in known.values():
        assert campaign["rows"]
        for row in campaign["rows"].values():
            assert row["held"] == row["tried"] > 0
