"""Checks the text of `--prompt` before a model is loaded."""

from sdelens.unicode_text import require_unicode


def unicode_prompt(prompt: str | None) -> str | None:
    """The prompt; raises `UsageError` if the command line is not UTF-8."""
    return prompt if prompt is None else require_unicode(prompt, "--prompt")
