"""Errors of the hub, with instructions for the user."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sdelens.errors import UnknownName, Unreachable, UsageError


@contextmanager
def hub_errors(
    kind: str,
    name: str,
    *,
    revision: str | None,
    known: Callable[[], Sequence[str]],
    otherwise: Callable[[], str],
) -> Iterator[None]:
    """Convert errors of the hub; suggests `known` names and the alternative `otherwise`."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except HFValidationError as error:
        raise UsageError(
            f"{name!r} is neither a folder nor a name on the hub ({error})"
        ) from error
    except GatedRepoError as error:
        raise Unreachable(
            f"{name} is gated: accept its terms on the hub, then set HF_TOKEN, or give a local "
            "folder"
        ) from error
    except RevisionNotFoundError as error:
        raise UnknownName(f"{name} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise UnknownName.among(
            kind,
            name,
            known(),
            "It is neither a local folder nor on the hub (or private: set HF_TOKEN).",
        ) from error
    except OSError as error:  # a connection that fails, and a file that is not in the cache
        raise Unreachable(otherwise()) from error
