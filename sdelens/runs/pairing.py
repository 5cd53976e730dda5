"""What distinguishes two runs, and whether their documents can be paired."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from torch import Tensor

from sdelens.errors import SdelensError
from sdelens.fitting.study import Viewed
from sdelens.paths.trajectories import Paths
from sdelens.runs.run import Run
from sdelens.states.recording import View

CLOSE = 1e-4
"""Largest relative difference between the same states from two libraries or devices."""


@dataclass(frozen=True, eq=False)
class Pairing:
    """A view of two runs, of which the second is compared with the first."""

    first: Run
    second: Run
    view: View

    @cached_property
    def obstacles(self) -> tuple[str, ...]:
        """Why documents cannot be paired; empty if the runs hold out the same transitions."""
        one, other = self.first, self.second
        prints = [run.manifest["fingerprints"] for run in (one, other)]
        if self.view not in one.views:
            return (f"no layer {self.view.label} in {one.folder.name}",)
        if None in prints:
            return ("texts that the manifest does not describe",)
        # one model reads equal ids alike, whether or not it has a tokenizer
        asked = ("texts", "tokenizer") if prints[0]["model"] != prints[1]["model"] else ("texts",)
        found = [f"other {what}" for what in asked if prints[0][what] != prints[1][what]]
        if not found and one.split != other.split:
            found.append("other held-out documents")
        if one.job.skip_first != other.job.skip_first:
            found.append("other skipped positions")
        if one.card.width != other.card.width:
            found.append("states of another width")
        if one.job.basis != other.job.basis:
            found.append(f"basis {one.job.basis} there, {other.job.basis} here")
        return tuple(found)

    @cached_property
    def conditions(self) -> tuple[str, ...]:
        """What the states were captured under: the model, its type and the user's hooks."""
        one, other = self.first.card, self.second.card
        found = []
        if one.name != other.name:
            found.append(f"model {one.name} there, {other.name} here")
        if one.fingerprint != other.fingerprint and one.layout == other.layout:
            prints = (card.fingerprint[:12] for card in (one, other))
            found.append("weights {} there, {} here".format(*prints))
        for what, name in (("dtype", "type"), ("weights", "processing of the weights")):
            there, here = getattr(one, what), getattr(other, what)
            if there != here:
                found.append(f"{name} {there} there, {here} here")
        if one.hooks != other.hooks:
            found.append(f"hooks {one.hook_words} there, {other.hook_words} here")
        elif one.hooks and self.same_states is False:
            found.append(f"other states under the hooks {one.hook_words}")
        return tuple(found)

    @property
    def same_states(self) -> bool | None:
        """Whether both have the same held-out states; None if that is unknown."""
        return self._compared[0]

    @property
    def unread(self) -> str:
        """Why the states of documents that can be paired were not read; empty if they were."""
        return self._compared[1]

    @cached_property
    def _compared(self) -> tuple[bool | None, str]:
        """`same_states` and `unread`."""
        if self.obstacles:
            return None, ""
        one, other = self.first.card, self.second.card
        if one.fingerprint == other.fingerprint and not one.hooks and not other.hooks:
            origins = [run.fitted(self.view).origin for run in (self.first, self.second)]
            if all(origin is None or origin.repeatable for origin in origins):
                return True, ""
        try:
            return equal_states(*self.viewed), ""
        except SdelensError as error:  # a model or states that are not there
            return None, str(error)

    @cached_property
    def viewed(self) -> tuple[Viewed, Viewed]:
        """The fits with their paths."""
        one, other = (run.study().views[self.view] for run in (self.first, self.second))
        return one, other

    @property
    def words(self) -> str:
        """What differs, for a table."""
        fits = [self.first.job.probe, self.second.job.probe]
        probe = [] if fits[0] == fits[1] else ["probe {} there, {} here".format(*fits)]
        return "; ".join([*self.obstacles, *self.conditions, *probe]) or "nothing"


def equal_states(one: Viewed, other: Viewed) -> bool:
    """Whether all held-out states are equal, up to the order of operations."""
    return all(
        a is not None and b is not None and _close(a, b)
        for a, b in zip_longest(*(_by_path(each.test) for each in (one, other)))
    )


def _by_path(paths: Paths) -> Iterator[Tensor]:
    """The observed states of each path; blocks of two recordings may have different sizes."""
    for block in paths:
        yield from (states[seen] for states, seen in zip(block.states, block.mask, strict=True))


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return float((one - other.to(one.device)).norm()) <= CLOSE * float(one.norm())
