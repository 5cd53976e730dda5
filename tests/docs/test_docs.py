"""The documentation says what there is. Run as a script, this file rewrites the help in cli.md."""

import ast
import re
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import sdelens
from sdelens.registering import load_file
from sdelens.registry import KINDS, forget, registered
from sdelens.testing import check_analyzer, check_probe, check_source, ornstein_uhlenbeck
from sdelens_cli.validate import from_file

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
# what the site writes is not among them
PAGES += sorted(p for p in DOCS.rglob("*.md") if not {"_build", "catalogue"} & {*p.parts})
BLOCK = re.compile(r"<!-- help: (sdelens[a-z ]*) -->\n(?:```text\n.*?```\n)?", re.DOTALL)


# --- the help in cli.md


def help_of(command):
    from sdelens_cli.commands import app

    words = [*command.split()[1:], "--help"]
    shown = CliRunner().invoke(app, words, prog_name="sdelens", env={"COLUMNS": "90"})
    return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())


def with_help(page):
    def block(found):
        return f"<!-- help: {found[1]} -->\n```text\n{help_of(found[1])}\n```\n"

    return BLOCK.sub(block, page)


def test_help_texts_are_current():
    page = (DOCS / "cli.md").read_text()
    assert page == with_help(page), f"run: python {Path(__file__).relative_to(ROOT)}"


def test_every_command_has_its_help():
    documented = set(BLOCK.findall((DOCS / "cli.md").read_text()))
    assert documented == set(commands())


def commands():
    from typer.main import get_command

    from sdelens_cli.commands import app

    def walk(command, name):
        yield name
        for word, child in getattr(command, "commands", {}).items():
            yield from walk(child, f"{name} {word}")

    return walk(get_command(app), "sdelens")


# --- names


def test_every_public_name_is_documented():
    import sdelens

    page = (DOCS / "python.md").read_text()
    assert [name for name in sdelens.__all__ if f"`sdelens.{name}`" not in page] == []


def test_every_plugin_is_documented_and_no_other(catalogue):
    assert set(catalogue.sections()) == set(catalogue.built_in())


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_stands_with_its_default(catalogue, kind):
    documented = catalogue.sections()
    for (own, name), plugin in catalogue.built_in().items():
        if own != kind:
            continue
        for setting in catalogue.settings_of(kind, plugin.load()):
            row = f"| `{setting.name}` | {setting.shown} |".replace("|  |", "| |")
            assert row in documented[own, name].text, f"{kind} {name}"


def test_no_setting_is_documented_that_is_not_there(catalogue):
    for (kind, name), section in catalogue.sections().items():
        rows = re.findall(r"^\| `(\w+)` \|", section.text, flags=re.MULTILINE)
        known = catalogue.settings_of(kind, catalogue.built_in()[kind, name].load())
        assert set(rows) <= {setting.name for setting in known}, f"{kind} {name}"


# --- errors


def literals():
    """Every string of the code, with … where a value is filled in."""
    for package in ("sdelens", "cli", "plugins/sdelens_plugins"):
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (getattr(value, "value", None) for value in node.values)
                    yield "".join(part if isinstance(part, str) else "…" for part in parts)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_documented_messages_are_those_of_the_code():
    messages = re.findall(r"^\| `(.+?)` \|", (DOCS / "errors.md").read_text(), flags=re.MULTILINE)
    said = "\n".join(literals())
    # what an analyzer needs is a sentence of its own
    wanted = [piece.strip() for message in messages for piece in re.split("…|needs", message)]
    assert len(messages) > 30
    assert [piece for piece in wanted if len(piece) > 12 and piece not in said] == []


def test_every_exit_code_is_documented():
    from sdelens import errors

    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    kinds = [kind for kind in classes if issubclass(kind, errors.SdelensError)]
    codes = {kind.exit_code for kind in kinds} | {0, 130}
    table = (DOCS / "cli.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}


# --- pages


def anchors(page):
    heads = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    named = re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), flags=re.MULTILINE)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_folder_of_one_machine(page):
    assert not re.search(r"(?<![\w.~])/(work|home|root|Users)/", page.read_text())


def test_the_contents_list_every_page_and_the_page_of_plugins_those_of_analyzers():
    contents, plugins = ((DOCS / name).read_text() for name in ("index.md", "plugins.md"))
    for page in (p for p in PAGES if p.is_relative_to(DOCS) and p.name != "index.md"):
        name = page.relative_to(DOCS).as_posix()
        linked = plugins if page.parent.name == "analyzers" else contents
        assert f"]({name})" in linked, name
        assert page.parent.name == "analyzers" or f"\n{name.removesuffix('.md')}\n" in contents, (
            name
        )


def test_every_path_in_the_map_of_the_code_exists():
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where is it?")[2]
    paths = re.findall(r"`([\w.]+/[\w./]+)`", table.partition("## Layout")[0])
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_readme_leads_to_the_documentation():
    readme = (ROOT / "README.md").read_text()
    named = {"docs/index.md", "docs/quickstart.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert named <= set(re.findall(r"\]\(([^)#]+)", readme))


if __name__ == "__main__":
    file = DOCS / "cli.md"
    file.write_text(with_help(file.read_text()))
    sys.exit()


def example(name):
    page = (DOCS / "plugins.md").read_text()
    return re.search(rf"<!-- example: {name} -->\n```python\n(.*?)```", page, re.DOTALL)[1]


@pytest.fixture
def own_session():
    """What a test registers is gone after it."""
    before = registered()
    yield
    forget(before)


def test_the_analyzer_of_the_docs_has_fifteen_lines_and_keeps_the_rules(tmp_path, own_session):
    code = example("speed.py")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    (tmp_path / "speed.py").write_text(code)
    (plugin,) = load_file(tmp_path / "speed.py")
    check_analyzer(plugin.load()())


def test_the_source_of_the_docs_keeps_the_rules(tmp_path, own_session):
    (tmp_path / "poems.py").write_text(example("poems.py"))
    (plugin,) = load_file(tmp_path / "poems.py")
    check_source(plugin.load()())


def test_the_probe_of_the_docs_keeps_the_rules_and_recovers_its_system(tmp_path, own_session):
    (tmp_path / "relax.py").write_text(example("relax.py"))
    probe = from_file(tmp_path / "relax.py", None)()
    check_probe(probe)
    system = ornstein_uhlenbeck(1)
    fitted = sdelens.fit(system.simulate(100, 101, seed=0), dt=system.dt, probe=probe)
    x = torch.tensor([[0.0], [2.0]])
    slope, truth = (float(f.diff(dim=0)) for f in (fitted.drift(0.0, x), system.drift(x)))
    # a rate has a standard error of sqrt(2 rate / T), T = 800 of 1,000 in training
    assert slope == pytest.approx(truth, abs=4 * 2 * (2 / 800) ** 0.5)


def test_every_row_of_the_support_table_names_a_test_that_is_there_or_says_that_there_is_none():
    table = (DOCS / "attach.md").read_text().partition("## What is supported")[2]
    rows = re.findall(r"^\| .+ \| (.+) \|$", table, flags=re.MULTILINE)[1:]
    assert len(rows) > 10
    for said in rows:
        named = re.search(r"`(test_\w+\.py)::(test_\w+)`", said)
        assert named or said.startswith(("untested", "not read")), said
        if named:
            (file,) = (ROOT / "tests" / "plugins").rglob(named[1])
            assert f"def {named[2]}(" in file.read_text(), said
