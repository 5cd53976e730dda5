"""The options of a fit: one definition, many callers."""

from dataclasses import fields
from inspect import signature
from typing import get_type_hints

import pytest
import torch

import sdelens
from sdelens.errors import UnknownName, UsageError
from sdelens.fitting.options import FitKeywords, FitOptions
from sdelens.runs.job import Job
from sdelens.runs.lens import Lens, LensKeywords
from sdelens_cli.fit import fit as command

OPTIONS = [(sdelens.fit, FitKeywords, FitOptions), (Lens.fit, LensKeywords, Job)]


@pytest.mark.parametrize(("function", "keywords", "options"), OPTIONS)
def test_keywords_have_the_types_and_defaults_of_the_options(function, keywords, options):
    types, defaults = get_type_hints(options), vars(options())
    shown = signature(function).parameters
    for name, hint in get_type_hints(keywords).items():
        assert hint == types[name]
        assert shown[name].annotation == types[name]
        assert shown[name].default == defaults[name]


def test_the_command_line_has_an_option_for_each_setting_of_a_job():
    named = set(signature(command).parameters)
    assert {field.name for field in fields(Job)} - named == {
        "probe_settings",  # --set probe.…
        "source_settings",  # --set source.…
        "cache",  # --no-cache
    }


def test_a_keyword_that_is_no_option_is_a_setting_of_the_probe():
    states = torch.randn(20, 10, 2, generator=torch.Generator().manual_seed(0))
    by_keyword = sdelens.fit(states, probe="linear", noise="full")
    by_name = sdelens.fit(states, probe="linear", probe_settings={"noise": "full"})
    assert by_keyword.record.settings == by_name.record.settings
    assert by_keyword.record.settings["noise"] == "full"


@pytest.mark.parametrize(
    ("wrong", "meant"), [("bassis", "basis"), ("widht", "width"), ("d_t", "dt")]
)
def test_a_wrong_keyword_is_answered_with_the_nearest_option_or_setting(wrong, meant):
    with pytest.raises(UnknownName, match=f"No option of a fit named '{wrong}'.*'{meant}'"):
        sdelens.fit(torch.zeros(20, 10, 2), **{wrong: 1})


def test_an_option_of_another_type_is_refused_before_the_fit():
    with pytest.raises(UsageError, match=r"fit\.seed must be int, got 'a'"):
        sdelens.fit(torch.zeros(20, 10, 2), seed="a")
