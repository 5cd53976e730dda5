"""Findings joined by their tokens, and their data in the page."""

import json
import re
from dataclasses import replace

import pytest

from sdelens.report import Finding, Report, Strip
from sdelens_plugins.reporters.html.embedding import embedded, policy, script
from sdelens_plugins.reporters.html.joined_texts import joined_texts
from sdelens_plugins.reporters.html.page import page
from tests.plugins.reporters.html.views import TOKENS, VIEWS, report, state_path, strips
from tests.plugins.reporters.reports import HOSTILE, Reader


def finding(view="L01", **parts):
    return Finding(view, "A headline.", "", **parts)


def test_strips_of_any_analyzer_join_the_path_over_their_tokens():
    (text,) = joined_texts(report().findings)
    assert text.views == VIEWS
    assert list(text.quantities) == ["surprise", "entropy"]
    assert all(set(own) == set(VIEWS) for own in text.quantities.values())
    assert list(text.paths) == list(VIEWS)


def test_a_longer_strip_extends_the_text_and_a_shorter_one_begins_it():
    path = state_path(tokens=TOKENS[:8])
    longer, shorter = (Strip(str(n), TOKENS[:n], (0.0,) * n) for n in (12, 3))
    (text,) = joined_texts([finding(paths=(path,)), finding(strips=(longer, shorter))])
    assert text.tokens == TOKENS[:12]
    assert list(text.quantities) == ["12", "3"]


def test_other_tokens_do_not_join_and_need_a_path_of_their_own():
    other = Strip("other", ("another", " text"), (0.0, 1.0))
    (text,) = joined_texts([finding(paths=(state_path(),), strips=(*strips(0), other))])
    assert "other" not in text.quantities
    assert joined_texts([finding(strips=(other,))]) == []
    second = finding("L02", paths=(state_path(tokens=other.tokens),))
    both = joined_texts([finding(paths=(state_path(),), strips=(other,)), second])
    assert [text.tokens for text in both] == [TOKENS, other.tokens]
    assert list(both[1].quantities) == ["other"]


def test_layers_share_the_scale_of_a_quantity():
    (text,) = joined_texts(report().findings)
    surprise = text.data()["quantities"][0]
    assert surprise["ends"] == [0.0, 26.0]
    assert {strip.scale for strip in text.quantities["surprise"].values()} == {(0.0, 26.0)}


def test_what_is_not_a_number_has_no_value_in_the_page():
    strip = Strip("some", TOKENS[:2], (float("nan"), float("inf")))
    (text,) = joined_texts([finding(paths=(state_path(tokens=TOKENS[:2]),), strips=(strip,))])
    assert text.data()["quantities"][0]["values"] == [[None, None]]
    json.loads(json.dumps(text.data(), allow_nan=False))


def test_maps_show_what_differs_between_layers():
    (several,) = joined_texts(report().findings)
    (figure,) = several.maps()
    assert [panel.title for panel in figure.panels] == ["surprise"], "entropy is the same in all"
    assert tuple(figure.panels[0].layers[0].values["z"].shape) == (3, len(TOKENS))
    (single,) = joined_texts(report(("L10",)).findings)
    assert single.maps() == []


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_tokens_stay_in_the_data_of_the_page(text):
    tokens = (text, "\n", "a")
    strip = Strip(text, tokens, (0.0, 1.0, 2.0), text, notes=(text,) * 3)
    path = replace(state_path(tokens=tokens), axes=(text, text))
    plain = page(Report("t", (), findings=(finding(paths=(path,), strips=(strip,)),)))
    read = Reader(plain)
    assert read.tags.count("script") == 2
    (data,) = re.findall(r'<script type="application/json">(.*?)</script>', plain)
    assert not set("<>&") & set(data)
    (found,) = json.loads(data)
    assert found["planes"][0]["axes"] == [text, text]
    assert found["quantities"][0]["notes"] == [[text] * 3]


def test_the_policy_allows_the_script_of_the_page_and_no_other():
    text = page(report())
    assert f'content="{policy(live=True)}"' in text
    assert "unsafe-eval" not in policy(live=True)
    assert policy(live=True).count("script-src") == 1
    assert f"<script>{script()}</script>" in text
    assert "</script" not in script()
    assert f'content="{policy(live=False)}"' in page(Report("t", ()))


def test_embedded_text_comes_back():
    assert json.loads(embedded({"a": HOSTILE})) == {"a": list(HOSTILE)}
