"""`sdelens cache`: recorded states on disk."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdelens_cli.json_output import AsJson, print_json

if TYPE_CHECKING:
    from sdelens.states.state_cache import Entry

cache = typer.Typer(
    help="List, measure and remove recorded states in the cache.", no_args_is_help=True
)


@cache.callback()
def root() -> None:
    """List, measure and remove recorded states in the cache."""


@cache.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recorded states, the least recently used first."""
    from sdelens.states.state_cache import StateCache
    from sdelens_cli.screen import size

    rows = [row(entry) for entry in StateCache.of_user().entries]
    if as_json:
        print_json({"entries": rows})
        return
    for one in rows:
        use = " in use" if one["in_use"] else ""
        last = one["last_used"].replace("T", " ")
        states = one["states"] or "damaged"
        print(f"{one['key']}  {last}  {size(one['bytes']):>10}  {states}{use}")


def row(entry: "Entry") -> dict[str, Any]:
    """Facts about an entry; its states are not verified."""
    used = datetime.fromtimestamp(entry.used).astimezone()
    return {
        "key": entry.folder.name,
        "states": entry.states,
        "bytes": entry.bytes,
        "last_used": used.isoformat(timespec="seconds"),
        "in_use": entry.in_use,
    }


@cache.command("size")
def size_(as_json: AsJson = False) -> None:
    """Print the size of the cache, its limit, and its folder."""
    from sdelens.states.state_cache import LIMIT, StateCache, cache_limit
    from sdelens_cli.screen import size

    found, limit = StateCache.of_user(), cache_limit()
    if as_json:
        print_json({"folder": str(found.folder), "bytes": found.bytes, "limit": limit})
        return
    most = f"no limit: set {LIMIT}" if limit is None else f"limit {size(limit)}"
    print(f"{size(found.bytes)} ({most}) in {found.folder}")


@cache.command()
def prune(
    limit: Annotated[
        str | None,
        typer.Option(
            help="Largest size to keep, such as 20GB; 0 removes all. [SDELENS_CACHE_LIMIT]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove leftovers of killed processes, and the least recently used states above a limit.

    States that a process is using are kept.
    """
    from sdelens.states.state_cache import StateCache, parse_size
    from sdelens_cli.screen import size

    most = None if limit is None else parse_size(limit, "--limit")
    found = StateCache.of_user()
    before = found.bytes
    leftovers = found.prune(most)
    left = found.bytes
    if as_json:
        print_json({"removed": before - left, "bytes": left, "leftovers": leftovers})
        return
    print(
        f"{size(before - left)} removed, {size(left)} left in {found.folder}; leftovers of killed "
        f"processes: {leftovers}"
    )
