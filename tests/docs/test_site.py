"""What the documentation site is made from. `make docs` makes it, where warnings are errors."""

import re
from dataclasses import dataclass, replace

import pytest

import sdelens
from sdelens import errors
from sdelens.registry import KINDS

NOTEBOOKS = ("quickstart", "attach", "extend")


def test_every_public_name_is_in_the_api_reference(root):
    page = (root / "docs" / "api" / "sdelens.rst").read_text()
    shown = re.findall(r"^\.\. auto\w+:: sdelens\.(\w+)", page, flags=re.MULTILINE)
    assert sorted(shown) == sorted(sdelens.__all__)


def test_every_plugin_has_a_page_that_its_kind_lists(catalogue):
    pages = catalogue.pages()
    for kind, name in catalogue.built_in():
        assert pages[f"{kind}-{name}.md"].startswith(f"# {name}\n")
        assert f"\n{kind}-{name}\n" in pages[f"{kind}s.md"]
    kinds = set(KINDS) - {"noise"}  # the built-in families are described with the probes
    assert len(pages) == len(catalogue.built_in()) + len(kinds)


@dataclass(frozen=True)
class Bare:
    width: int = 3


def test_a_plugin_without_docstring_row_or_section_is_named(catalogue):
    plugin = replace(catalogue.built_in()["probe", "linear"], name="bare", get=lambda: Bare)
    written = catalogue.Section("plugins.md", "| `depth` | `3` | how deep |")
    said = "\n".join(catalogue.missing(plugin, written))
    assert "'bare'" in said
    assert "no docstring" in said
    assert "no row for its setting width" in said
    assert "no section" in "\n".join(catalogue.missing(plugin, None))


def test_a_page_has_types_defaults_and_meanings_with_links_from_the_root(catalogue):
    page = catalogue.pages()["probe-neural.md"]
    assert "| `width` | `int` or `None` | `None` | of the hidden layers of the drift" in page
    assert "](/densities.md)" in page
    assert catalogue.rooted("[a](../b.md#c) [d](#e)", "analyzers/x.md") == (
        "[a](/b.md#c) [d](/analyzers/x.md#e)"
    )


def test_every_figure_shown_on_a_page_is_of_its_own_analyzer(catalogue, root):
    for name, page in catalogue.pages().items():
        for picture in re.findall(r"\]\(/(images/[^)]+)\)", page):
            own = name.removeprefix("analyzer-").removesuffix(".md")
            assert (root / "docs" / picture).name.startswith(f"{own}-")


def test_every_error_class_has_its_section_in_the_index_of_errors(root):
    page = (root / "docs" / "errors.md").read_text()
    every = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    named = [k for k in every if issubclass(k, errors.SdelensError) and k.exit_code > 1]
    heads = dict(re.findall(r"^## (\d+): .*\(`(\w+)`\)$", page, flags=re.MULTILINE))
    assert heads == {str(kind.exit_code): kind.__name__ for kind in named}
    for part in re.split(r"^## ", page, flags=re.MULTILINE)[1:-1]:
        rows = re.findall(r"^\|(.+)\|$", part, flags=re.MULTILINE)[2:]
        assert rows
        # message, cause, what to do
        assert all(len([c for c in row.split(" | ") if c.strip()]) == 3 for row in rows), part


# --- notebooks


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_text_without_output_and_in_the_contents(root, name):
    text = (root / "docs" / "notebooks" / f"{name}.md").read_text()
    assert "format_name: myst" in text
    assert "```{code-cell} ipython3\n" in text
    assert "{code-cell-output}" not in text
    assert f"\nnotebooks/{name}\n" in (root / "docs" / "index.md").read_text()


def test_there_is_no_other_notebook(root):
    there = {file.name for file in (root / "docs" / "notebooks").iterdir()}
    assert there == {f"{name}.md" for name in NOTEBOOKS}
    assert not [*(root / "docs" / "notebooks").rglob("*.ipynb")]


def test_the_notebook_has_the_examples_of_the_page_of_plugins(root):
    page, notebook = (
        (root / "docs" / n).read_text() for n in ("plugins.md", "notebooks/extend.md")
    )
    names = "speed.py|relax.py"
    pattern = rf"<!-- example: (?:{names}) -->\n```python\n(.*?)```"
    examples = re.findall(pattern, page, flags=re.DOTALL)
    assert len(examples) == 2
    assert all(f"```{{code-cell}} ipython3\n{code}```" in notebook for code in examples)


# --- the site loads nothing from elsewhere


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://cdn.example/mathjax.js"></script>',
        "<img alt=x src='//cdn.example/x.png'>",
        '<link rel="stylesheet" href="http://fonts.example/a.css">',
        "@font-face { src: url(https://fonts.example/a.woff2) }",
        '@import "https://fonts.example/a.css";',
        '<iframe srcdoc="&lt;img src=&quot;https://cdn.example/x.png&quot;&gt;"></iframe>',
    ],
)
def test_what_a_page_would_fetch_is_found(offline, text):
    assert len(offline.loaded_from_elsewhere(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://arxiv.org/abs/2408.11863">paper</a>',
        '<script src="_static/furo.js"></script>',
        '<svg xmlns="http://www.w3.org/2000/svg"></svg>',
        '<link rel="canonical" href="https://example.org/">',
        "a { background: url(#gradient) }",
    ],
)
def test_links_and_names_are_not_fetched(offline, text):
    assert offline.loaded_from_elsewhere(text) == []
