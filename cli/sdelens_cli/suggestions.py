"""Commands that a user can paste into a shell."""

import os
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

RESUMED = ("fit", "analyze")
"""Commands with `--resume`; the others repeat little, or continue by themselves."""


def command(*words: str | Path, files: Iterable[Path] | None = None) -> str:
    """A command of sdelens with the plugin files that it needs, quoted for a shell."""
    plugins = (word for file in files or () for word in ("--plugin", file))
    return " ".join(("sdelens", *map(quoted, (*words, *plugins))))


def again(argv: list[str]) -> str:
    """The command that continues these arguments after an interruption."""
    name, *rest = argv or ("",)
    resumed = ["--resume"] if name in RESUMED and not {"--resume", "--dry-run"} & set(rest) else []
    return command(*argv[:1], *resumed, *rest)


def quoted(word: str | Path) -> str:
    r"""A word for a shell; a path that looks like an option begins with ``./``.

    >>> quoted(Path("my runs/a")), quoted("a\nb")
    ("'my runs/a'", "$'a\\nb'")
    """
    text = str(word)
    if isinstance(word, Path) and text.startswith("-"):
        text = f"./{text}"
    if text.isprintable() and _encodable(text):
        return shlex.quote(text)
    return "$'" + "".join(map(_byte, os.fsencode(text))) + "'"


def _encodable(text: str) -> bool:
    try:
        text.encode(sys.stderr.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _byte(value: int) -> str:
    """A byte in the quotes $'…' of bash, ksh and zsh."""
    if value == ord("\n"):
        return "\\n"
    if chr(value) in "'\\":
        return f"\\{chr(value)}"
    return chr(value) if 32 <= value < 127 else f"\\x{value:02x}"
