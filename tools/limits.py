"""Check the length of Python files and functions, as part of `make lint`."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("sdelens", "plugins", "cli", "tests", "docs", "tools", "bench")
FILE, FUNCTION = 300, 60
"""Maximum number of lines, including docstrings and blank lines."""


def too_long(file: Path) -> Iterator[str]:
    """Yield one message per limit that a file exceeds."""
    text = file.read_text(encoding="utf-8")
    if (lines := len(text.splitlines())) > FILE:
        yield f"{file}: expected at most {FILE} lines, got {lines}: split it by concept"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION:
                place = f"{file}:{node.lineno}: {node.name}"
                yield f"{place}: expected at most {FUNCTION} lines, got {lines}: split it"


def main() -> None:
    """Check every Python file of the project."""
    files = [
        file
        for folder in FOLDERS
        for file in sorted(Path(folder).rglob("*.py"))
        if not any(part.startswith(("_build", ".")) for part in file.parts)
    ]
    found = [sentence for file in files for sentence in too_long(file)]
    print(
        "\n".join(found) or f"{len(files)} files within {FILE} lines, functions within {FUNCTION}"
    )
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
