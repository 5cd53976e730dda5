"""The gallery shows every analyzer, and what it links to is there."""

import re

from sdelens.registry import plugins


def test_every_analyzer_has_a_section_with_a_figure_and_how_to_read_it(root):
    page = (root / "docs" / "gallery.md").read_text()
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:]
    shown = {section.partition(",")[0]: section for section in sections}
    own = {
        name for name, plugin in plugins("analyzer").items() if plugin.distribution == "sdelens"
    }
    assert own == set(shown), "run: make gallery"
    for name, section in shown.items():
        assert "![" in section, name
        assert "**How to read it.**" in section, name


def test_every_picture_is_shown_and_there(root):
    page = (root / "docs" / "gallery.md").read_text()
    shown = set(re.findall(r"\]\((images/gallery/[^)]+)\)", page))
    folder = root / "docs" / "images" / "gallery"
    assert shown == {f"images/gallery/{file.name}" for file in folder.iterdir()}
