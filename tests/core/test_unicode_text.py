"""Halves of surrogate pairs are refused by position, or replaced."""

import pytest

from sdelens.errors import UsageError
from sdelens.unicode_text import require_unicode, with_replacements


@pytest.mark.parametrize("text", ["", "plain", "\U0001f600 é \x00", "\ufffd"])
def test_whole_characters_pass_unchanged(text):
    assert require_unicode(text, "it") == with_replacements(text) == text


def test_a_half_is_named_with_its_place():
    # a byte of the command line that is not UTF-8 is \udc80 to \udcff in Python
    with pytest.raises(UsageError, match=r"--prompt must be Unicode, but its character 3 is"):
        require_unicode(b"caf\xe9".decode("utf-8", "surrogateescape"), "--prompt")
    assert with_replacements("\ud83da\udc00") == "\ufffda\ufffd"


@pytest.mark.parametrize("value", [None, b"bytes", 3])
def test_other_types_are_named(value):
    with pytest.raises(UsageError, match=f"text 3 must be a string, got {type(value).__name__}"):
        require_unicode(value, "text 3")
