"""Names of plugins, findings, views and figures, which become names of files and folders."""

from sdelens.errors import UsageError

LONGEST = 200
"""Maximum number of bytes, below the 255 of common file systems with room for a suffix."""


def file_name_problem(name: object) -> str | None:
    """Why a name cannot be that of a file; None if it can.

    >>> file_name_problem("low-rank 2"), file_name_problem("../notes")
    (None, 'must not contain /')
    """
    if not isinstance(name, str) or not name:
        return "must not be empty"
    if bad := [c for c in name if c in "/\\:" or not c.isprintable()]:
        return f"must not contain {ascii(bad[0])[1:-1]}"
    if name.startswith(".") or name.strip() != name:
        return "must not begin with a dot, nor begin or end with a space"
    if len(name.encode()) > LONGEST:
        return f"must have {LONGEST} bytes at most"
    return None


def file_name(name: str, what: str) -> str:
    """The name, if it can be that of a file; raises `UsageError` otherwise."""
    if problem := file_name_problem(name):
        raise UsageError(f"{what} {problem}, got {name[:LONGEST]!a}: choose another name")
    return name
