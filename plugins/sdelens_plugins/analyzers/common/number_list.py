"""Several numbers in one setting, which is a text, since settings are scalars."""

from sdelens.errors import UsageError


def number_list(setting: str | int | float, name: str, example: str) -> list[float]:
    """Numbers with commas between them; an error that names the setting.

    >>> number_list("0.5,1", "doses", "-1,1")
    [0.5, 1.0]
    """
    try:
        return [float(part) for part in str(setting).split(",")]
    except ValueError:
        raise UsageError(
            f"{name} must be numbers with commas between them, such as {example}; got {setting!r}"
        ) from None
