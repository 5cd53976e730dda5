"""A page for each built-in plugin, from its docstring, its settings and what the docs say of them.

What a setting means stands in plugins.md and in the pages of analyzers; types and defaults are the
code's. A plugin without a docstring, a section, or a row for each of its settings is an error.
"""

import re
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, cleandoc, signature
from pathlib import Path
from posixpath import dirname, join, normpath
from textwrap import indent
from typing import Any, Literal, get_args, get_origin, get_type_hints

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata

from sdelens.declarations import class_attributes
from sdelens.interfaces import REQUIRED
from sdelens.registry import KINDS, OURS, Plugin, plugins
from sdelens.settings import named

DOCS = Path(__file__).resolve().parents[1]
PAGES = "catalogue"
"""The folder of what is written here, which git ignores."""
ASKED = {
    "model": "sdelens.attach(model)",
    "source": "sdelens fit --source {name}",
    "probe": 'sdelens fit --probe {name}\nsdelens.fit(states, probe="{name}")',
    "analyzer": 'sdelens analyze RUN {name}\nstudy.analyze("{name}")',
    "reporter": "sdelens report RUN --reporter {name}",
}


@dataclass(frozen=True)
class Setting:
    """A name, a type, and a default, MISSING where there is none."""

    name: str
    hint: Any
    default: Any

    @property
    def type(self) -> str:
        """The type as a cell of a table: a choice, a name, or several."""
        choices = get_args(self.hint) if get_origin(self.hint) is Literal else ()
        said = map(repr, choices) if choices else named(self.hint).split(" | ")
        return " or ".join(f"`{each}`" for each in said)

    @property
    def shown(self) -> str:
        """The default as a cell of a table."""
        return "" if self.default is MISSING else f"`{self.default}`"


@dataclass(frozen=True)
class Section:
    """What is written of a plugin by hand, and on which page."""

    page: str
    text: str

    def meaning(self, setting: str) -> str | None:
        """The last cell of the setting's row, its links from the root of the site."""
        row = re.search(rf"^\| `{setting}` \|[^|]*\| ?(.*) \|$", self.text, flags=re.MULTILINE)
        return rooted(row[1], self.page) if row else None


def built_in() -> dict[tuple[str, str], Plugin]:
    """Our plugins, by kind and name."""
    every = (plugin for kind in KINDS for plugin in plugins(kind).values())
    return {(each.kind, each.name): each for each in every if each.distribution == OURS}


def settings_of(kind: str, plugin: Any) -> list[Setting]:
    """The fields of a plugin; of a model adapter what its `load` takes, or else its `adapt`."""
    if kind != "model":
        hints = get_type_hints(plugin)
        return [Setting(f.name, hints[f.name], f.default) for f in fields(plugin) if f.init]
    how = getattr(plugin, "load", plugin.adapt)
    known = [p for p in signature(how).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]
    hints = get_type_hints(how)
    return [Setting(p.name, hints[p.name], p.default) for p in known]


def sections() -> dict[tuple[str, str], Section]:
    """The sections of plugins.md, and the pages of analyzers, by kind and name."""
    found = {}
    for part in re.split(r"^## ", (DOCS / "plugins.md").read_text(), flags=re.MULTILINE):
        kind = part.partition("\n")[0].lower().removesuffix("s")
        for text in re.split(r"^### ", part, flags=re.MULTILINE)[1:]:
            found[kind, text.partition("\n")[0].strip("`")] = Section("plugins.md", text)
    for page in sorted(DOCS.glob("analyzers/*.md")):
        place = ("analyzer", page.stem)
        if place in found:
            raise ExtensionError(f"{page.stem} has a page and a section in plugins.md")
        found[place] = Section(f"analyzers/{page.name}", page.read_text())
    return found


def rooted(text: str, page: str) -> str:
    """Text of one page for another: links to pages begin at the root of the site."""

    def link(match: re.Match[str]) -> str:
        target = normpath(join("/", dirname(page), match[1])) if match[1] else f"/{page}"
        return f"]({target}{match[2] or ''})"

    return re.sub(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)", link, text)


def docstring(kept: Any) -> str | None:
    """What a class says of itself, and not what a dataclass says for it."""
    said = vars(kept).get("__doc__")
    return None if not said or said.startswith(f"{kept.__name__}(") else cleandoc(said)


def missing(plugin: Plugin, section: Section | None) -> list[str]:
    """What is undocumented of a plugin, in words."""
    kept = plugin.load()
    if section is None:
        return [f"{plugin} has no section in plugins.md and no page"]
    unsaid = [s.name for s in settings_of(plugin.kind, kept) if not section.meaning(s.name)]
    bare = [] if docstring(kept) else [f"{plugin} has no docstring"]
    return bare + [f"{plugin} has no row for its setting {name}" for name in unsaid]


def page(plugin: Plugin, section: Section) -> str:
    """The page of a plugin."""
    kept = plugin.load()
    listed = class_attributes(kept, REQUIRED[plugin.kind]).items()
    parts = [
        f"# {plugin.name}",
        f"```{{eval-rst}}\n{docstring(kept)}\n```",
        indent(ASKED[plugin.kind].format(name=plugin.name), "    "),
        "\n".join(f"- {word}: {words(value)}" for word, value in listed if value),
        f"- class: `{plugin.target.replace(':', '.')}`, of {plugin.distribution}",
        table(settings_of(plugin.kind, kept), section),
        *more(plugin, section),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def words(value: Any) -> str:
    """One word or several, as code."""
    each = [str(value)] if isinstance(value, str | bool) else value
    ordered = sorted(each) if isinstance(each, frozenset) else each
    return ", ".join(f"`{word}`" for word in ordered)


def table(settings: list[Setting], section: Section) -> str:
    """The settings with types, defaults and meanings."""
    if not settings:
        return "It has no settings."
    rows = [f"| `{s.name}` | {s.type} | {s.shown} | {section.meaning(s.name)} |" for s in settings]
    return "\n".join(
        ["## Settings", "", "| setting | type | default | |", "|---|---|---|---|", *rows]
    )


def more(plugin: Plugin, section: Section) -> list[str]:
    """A figure, and where to read on; a page of its own is below this one in the contents."""
    if plugin.kind != "analyzer":
        return [f"Read on: [{plugin.name}](/plugins.md#{plugin.name})"]
    shown = re.search(
        rf"^## {plugin.name}, .*?^(!\[.*?\]\()(images/.+?\))",
        (DOCS / "gallery.md").read_text(),
        flags=re.MULTILINE | re.DOTALL,
    )
    picture = f"{shown[1]}/{shown[2]}" if shown else ""
    read = f"Formulas, and how to read it: [{plugin.name}](/{section.page}). "
    below = f"```{{toctree}}\n:hidden:\n\n/{section.page.removesuffix('.md')}\n```"
    return [picture, f"{read}All figures: [gallery](/gallery.md).", below]


def contents(kind: str, found: dict[str, Plugin]) -> str:
    """The page that lists the plugins of a kind, with the first sentences of each."""
    listed = [f":doc:`{n} <{kind}-{n}>`\n{opening(each.load())}" for n, each in found.items()]
    files = "\n".join(f"{kind}-{name}" for name in found)
    parts = [
        f"# {kind.capitalize()}s",
        f"Those that are built in. [Plugins](/plugins.md#{kind}s) tells them apart.",
        "```{eval-rst}\n" + "\n\n".join(listed) + "\n```",
        f"```{{toctree}}\n:hidden:\n\n{files}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def opening(kept: Any) -> str:
    """The first paragraph of a docstring, as the definition of a name."""
    return indent((docstring(kept) or "").partition("\n\n")[0], "    ")


def pages() -> dict[str, str]:
    """All pages by file name; an error that says what is undocumented."""
    found, written = built_in(), sections()
    unsaid = [line for key, each in found.items() for line in missing(each, written.get(key))]
    if unsaid:
        raise ExtensionError("undocumented plugins:\n" + "\n".join(unsaid))
    own = {kind: {name: p for (of, name), p in found.items() if of == kind} for kind in KINDS}
    made = {f"{kind}s.md": contents(kind, known) for kind, known in own.items() if known}
    return made | {f"{p.kind}-{p.name}.md": page(p, written[key]) for key, p in found.items()}


def write(app: Sphinx) -> None:
    """Write what has changed, and remove what is no more."""
    folder = Path(app.srcdir) / PAGES
    folder.mkdir(exist_ok=True)
    made = pages()
    for file in folder.glob("*.md"):
        if file.name not in made:
            file.unlink()
    for name, text in made.items():
        file = folder / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the pages before the others are read."""
    app.connect("builder-inited", write)
    return {"parallel_read_safe": True}
