"""The help of a command: options in groups, without Python types, and examples."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typer.core import TyperCommand

PYTHON_TYPE = re.compile(r"<(?:list\[)?(str|int|float|path|file|Path)\]?(?: range)?>")
WORDS = {"str": "TEXT", "int": "N", "float": "X", "path": "PATH", "file": "FILE", "Path": "PATH"}
OPTIONS = "Options"


class HelpCommand(TyperCommand):
    """A command whose epilog is a list of examples, one a line."""

    groups: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Names of parameters by heading; all others are under `OPTIONS`, last."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        headings = {name: heading for heading, names in self.groups.items() for name in names}
        order = ("Arguments", *self.groups, OPTIONS)
        rows: dict[str, list[tuple[str, str]]] = {heading: [] for heading in order}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                option = parameter.param_type_name == "option"
                heading = headings.get(parameter.name or "", OPTIONS) if option else "Arguments"
                rows[heading].append((without_types(record[0]), record[1]))
        for heading, records in rows.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are; wrapped lines could not be pasted."""
        del ctx
        if self.epilog:
            with formatter.section("Examples"):
                for line in self.epilog.splitlines():
                    formatter.write(f"  {line}\n")


def without_types(usage: str) -> str:
    """An option with a word for its value instead of a Python type.

    >>> without_types("--set <list[str]>"), without_types("--answers <int range>")
    ('--set TEXT', '--answers N')
    """
    return PYTHON_TYPE.sub(lambda found: WORDS[found[1]], usage)
