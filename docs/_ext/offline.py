"""The built site is whole: a page that would load something from elsewhere is an error."""

import re
from html import unescape
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|embed|video|audio)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'>\s]+"""
    r"""|<link\b(?![^>]*\brel="canonical")[^>]*\bhref=["']?(?:https?:)?//[^"'>\s]+"""
    r"""|\burl\(["']?(?:https?:)?//[^)]+|@import\s[^;]*//[^;]+""",
    re.IGNORECASE,
)
"""What a browser fetches by itself; links that a reader may follow are not among it."""


def loaded_from_elsewhere(page: str) -> list[str]:
    """The tags and rules of a page, or of a frame in it, that name another host."""
    return LOADED.findall(unescape(page))


def check(app: Sphinx, exception: Exception | None) -> None:
    """Look at every page and style sheet after the build."""
    if exception or app.builder.format != "html":
        return
    pages = [*Path(app.outdir).rglob("*.html"), *Path(app.outdir).rglob("*.css")]
    found = [
        f"{page}: {each}" for page in pages for each in loaded_from_elsewhere(page.read_text())
    ]
    if found:
        raise ExtensionError("pages load what is not in the site:\n" + "\n".join(found))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Check when all is written."""
    app.connect("build-finished", check)
    return {"parallel_read_safe": True}
