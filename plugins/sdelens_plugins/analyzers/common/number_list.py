"""Lists of numbers in one setting, since settings are scalars."""

from sdelens.errors import UsageError


def number_list(setting: str | int | float, name: str, example: str) -> list[float]:
    """Numbers separated by commas; raises `UsageError` with the setting's name otherwise.

    >>> number_list("0.5,1", "doses", "-1,1")
    [0.5, 1.0]
    """
    try:
        return [float(part) for part in str(setting).split(",")]
    except ValueError:
        raise UsageError(
            f"{name} must be numbers separated by commas, such as {example}; got {setting!r}"
        ) from None
