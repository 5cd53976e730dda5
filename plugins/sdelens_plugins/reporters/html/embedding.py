"""The script and the data of a page, and the policy that allows this script and nothing else."""

import json
from base64 import b64encode
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup

FOLDER = Path(__file__).parent / "scripts"
PARTS = ("elements", "plane", "map", "explorer", "doses")
"""The files of the script, in order."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@cache
def script() -> Markup:
    """The script that makes the views of a page interactive."""
    parts = [(FOLDER / f"{name}.js").read_text(encoding="utf-8") for name in PARTS]
    return Markup("\n".join(['"use strict";', "{", *parts, "}", ""]))


def policy(*, live: bool) -> Markup:
    """The content security policy of a page: with a script, the hash of this one is allowed."""
    if not live:
        return Markup(POLICY)
    digest = b64encode(sha256(script().encode()).digest()).decode()
    return Markup(f"{POLICY}; script-src 'sha256-{digest}'")


def embedded(value: Any) -> Markup:
    """JSON for a data block of the page, in which no text can end the block or begin another."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    escapes = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}
    return Markup(text.translate(escapes))
