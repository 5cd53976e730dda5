"""Help pages: options in groups, no Python types, examples that are commands of sdelens."""

import re
import shlex

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from sdelens_cli.commands import app
from sdelens_cli.examples import EXAMPLES
from sdelens_cli.fit import FitHelp

ROOT = get_command(app)


def commands(command=ROOT, name=""):
    """Every command that does something, by name."""
    children = getattr(command, "commands", {})
    if not children:
        return {name: command}
    return {
        k: c
        for word, one in children.items()
        for k, c in commands(one, f"{name} {word}".strip()).items()
    }


def help_of(name):
    return CliRunner().invoke(app, [*name.split(), "--help"], prog_name="sdelens").output


@pytest.mark.parametrize("name", commands())
def test_a_help_page_has_examples_no_python_types_and_80_columns(name):
    page = help_of(name)
    assert page.partition("\nExamples:\n")[2].split("\n")[0].startswith(f"  sdelens {name}")
    assert not re.search(r"list\[|<(str|int|float|path|file)\b|Path\b", page)
    assert max(map(len, page.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, lines in EXAMPLES.items() for line in lines]
)
def test_every_example_is_a_command_with_options_that_exist(name, line):
    sdelens, *words = shlex.split(line)
    count = len(name.split())
    assert (sdelens, words[:count]) == ("sdelens", name.split())
    command = commands()[name]
    context = typer.Context(command)
    given, rest, _ = command.make_parser(context).parse_args(words[count:])
    assert rest == []
    required = {p.name for p in command.get_params(context) if p.required}
    assert required <= {key for key, value in given.items() if value}


def test_each_option_of_fit_has_one_group_and_every_group_its_options():
    names = [name for group in FitHelp.groups.values() for name in group]
    assert len(names) == len(set(names))
    assert set(names) == {p.name for p in commands()["fit"].params}
    headings = re.findall(r"^(\w+):$", help_of("fit"), flags=re.MULTILINE)
    assert headings == ["Model", "Texts", "Fit", "Output", "Options", "Examples"]
    assert help_of("fit").count("\n  sdelens fit ") == 3
