"""Checks the text of `--prompt` before a model is loaded."""

from sdelens.unicode_text import require_prompt


def checked_prompt(prompt: str | None) -> str | None:
    """The prompt; raises `UsageError` if it is empty, or the command line is not UTF-8."""
    return require_prompt(prompt, "--prompt")
