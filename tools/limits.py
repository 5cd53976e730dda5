"""Fails where a Python file or a function is too long to be read in one go, in `make lint`."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("sdelens", "plugins", "cli", "tests", "docs", "tools", "bench")
FILE, FUNCTION = 300, 60
"""Most lines of each, docstrings and blank lines included."""


def too_long(file: Path) -> Iterator[str]:
    """A sentence for each limit that a file exceeds."""
    text = file.read_text(encoding="utf-8")
    if (lines := len(text.splitlines())) > FILE:
        yield f"{file}: {lines} lines, {FILE} allowed: split it by concept"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if lines > FUNCTION:
                place = f"{file}:{node.lineno}: {node.name}"
                yield f"{place} has {lines} lines, {FUNCTION} allowed: name its steps"


def main() -> None:
    """Check every Python file of the project."""
    files = [
        file
        for folder in FOLDERS
        for file in sorted(Path(folder).rglob("*.py"))
        if not any(part.startswith(("_build", ".")) for part in file.parts)
    ]
    found = [sentence for file in files for sentence in too_long(file)]
    print("\n".join(found) or f"{len(files)} files keep to {FILE} lines, {FUNCTION} a function")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
