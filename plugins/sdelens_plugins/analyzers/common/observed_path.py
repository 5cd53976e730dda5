"""The paths that a trajectory is shown of: a prompt's, or a held-out document's."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.prompt import prompted
from sdelens.paths.trajectories import NO_TOKEN, Paths, Trajectories

CLOCKS = {"token": "positions", "layer": "depths"}
"""What times count on each axis."""


@dataclass(frozen=True, eq=False)
class ObservedPath:
    """One path without its padding, with a name for it."""

    name: str
    states: Float[Tensor, "time dim"]
    times: Float[Tensor, " time"]
    tokens: Int[Tensor, " time"]
    document: int = 0
    clock: str = "positions"
    """What times count."""

    @property
    def steps(self) -> int:
        """How many transitions it has."""
        return len(self.times) - 1

    @property
    def span(self) -> str:
        """Its name and where it begins and ends, to open a caption."""
        first, last = self.times[0].item(), self.times[-1].item()
        return f"{self.name[0].upper()}{self.name[1:]}, {self.clock} {first:g} to {last:g}"

    def first(self, count: int) -> "ObservedPath":
        """Its first states."""
        return replace(
            self,
            states=self.states[:count],
            times=self.times[:count],
            tokens=self.tokens[:count],
        )


def observed_path(study: Study, *, tokens: int) -> ObservedPath:
    """The prompt's path if there is a prompt, else a test document's; its first `tokens` states.

    The document is the first that is long enough, or else the longest.
    """
    if study.prompt:
        return _of_prompt(study, study.prompt).first(tokens)
    view, viewed = study.single
    path = max(_paths(viewed.test), key=lambda path: min(len(path.times), tokens), default=None)
    if path is None:
        raise UsageError(
            "a trajectory needs a held-out document of at least two states, but there is none: "
            "give a prompt, or fit to more or longer texts"
        )
    return replace(path.first(tokens), clock=CLOCKS[view.axis])


def openings(
    paths: Paths, *, documents: int, states: int, group: Int[Tensor, " document"] | None = None
) -> list[ObservedPath]:
    """The first states of the first documents that have a transition, of one path of each.

    With the `group` of every document of the run, one document of each group: responses to one
    prompt are no independent observations.
    """
    first: dict[int, ObservedPath] = {}
    for path in _paths(paths):
        # data that are no text have no groups
        known = group is not None and path.document < len(group)
        own = int(group[path.document]) if known else path.document  # type: ignore[index]
        if first.setdefault(own, path) is path and len(first) == documents:
            break
    return [path.first(states) for path in first.values()]


def words_of(study: Study, ids: Int[Tensor, " time"]) -> tuple[str, ...]:
    """The words of tokens; their numbers where there is no model, nothing where no tokens."""
    if bool((ids == NO_TOKEN).all()):
        return ("",) * len(ids)
    if study.model is None:
        return tuple(f"#{number}" for number in ids.tolist())
    return tuple(study.model.decode(ids.tolist()))


def _paths(paths: Paths) -> Iterator[ObservedPath]:
    """All paths with a transition."""
    return (path for block in paths for path in _unpadded(block) if path.steps > 0)


def _unpadded(block: Trajectories) -> Iterator[ObservedPath]:
    times = block.times.expand(block.mask.shape)
    for row, seen in enumerate(block.mask):
        number = int(block.document[row])
        parts = (block.states[row][seen], times[row][seen], block.tokens[row][seen])
        yield ObservedPath(f"test document {number}", *parts, document=number)


def _of_prompt(study: Study, prompt: str) -> ObservedPath:
    """The states of a prompt at the view's site, captured as the run's were."""
    view, _ = study.single
    # along the depth each token has a path, and the last is what the prompt came to
    *_, path = _unpadded([*prompted(study, prompt).paths[view]][-1])
    name = "the last token of the prompt" if view.axis == "layer" else "the prompt"
    return replace(path, name=name, clock=CLOCKS[view.axis])
