"""Observed paths: that of a prompt or of a held-out document."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.language.next_token import NextTokenPredictions, predict_next_tokens
from sdelens.language.prompt import prompt_paths
from sdelens.language.texts import CANDIDATES, LONG, required_model
from sdelens.paths.documents import Document, Documents
from sdelens.paths.trajectories import NO_TOKEN, Paths, Trajectories
from sdelens.states.capturing import encode_document

ENTROPY = "entropy of the model's next token"
"""The name of this quantity of a text, so that a report shows it once."""
TIME_UNITS = {"token": "positions", "layer": "depths"}
"""The unit of time on each axis."""


@dataclass(frozen=True, eq=False)
class ObservedPath:
    """One named path without padding."""

    name: str
    states: Float[Tensor, "time dim"]
    times: Float[Tensor, " time"]
    tokens: Int[Tensor, " time"]
    document: int = 0
    time_unit: str = "positions"

    @property
    def steps(self) -> int:
        """The number of transitions."""
        return len(self.times) - 1

    @property
    def span(self) -> str:
        """The name and the first and last time, for captions."""
        first, last = self.times[0].item(), self.times[-1].item()
        return f"{self.name[0].upper()}{self.name[1:]}, {self.time_unit} {first:g} to {last:g}"

    def first(self, count: int) -> "ObservedPath":
        """The path of its first `count` states."""
        return replace(
            self,
            states=self.states[:count],
            times=self.times[:count],
            tokens=self.tokens[:count],
        )


def observed_path(study: Study, *, tokens: int) -> ObservedPath:
    """The first `tokens` states of the prompt, or of a test document if there is no prompt.

    The document is that of all analyzers (see `LONG`). Raises `UsageError` if no document has a
    transition.
    """
    if study.prompt:
        return _of_prompt(study, study.prompt).first(tokens)
    view, viewed = study.single
    most, group = max(tokens, LONG), study.documents.group
    found = first_paths(viewed.test, documents=CANDIDATES, states=most, group=group)
    path = max(found, key=lambda path: len(path.times), default=None)
    if path is None:
        raise UsageError(
            "a trajectory needs a held-out document of at least two states, but there is none: "
            "give a prompt, or fit to more or longer texts"
        )
    return replace(path.first(tokens), time_unit=TIME_UNITS[view.axis])


def first_paths(
    paths: Paths, *, documents: int, states: int, group: Int[Tensor, " document"] | None = None
) -> list[ObservedPath]:
    """The first `states` states of one path of each of the first `documents` documents.

    Documents without a transition are skipped. With the `group` of every document of the run, one
    document of each group is used: responses to one prompt are not independent observations.
    """
    first: dict[int, ObservedPath] = {}
    for path in _paths(paths):
        # data that are not text have no groups
        known = group is not None and path.document < len(group)
        own = int(group[path.document]) if known else path.document  # type: ignore[index]
        if first.setdefault(own, path) is path and len(first) == documents:
            break
    return [path.first(states) for path in first.values()]


def next_tokens_along(study: Study, path: ObservedPath) -> NextTokenPredictions:
    """The model's next-token predictions along the text of a path, as one document.

    Raises `UsageError` without a model.
    """
    model = required_model(study)
    if study.prompt:
        document = Document(tuple(encode_document(model, study.prompt)))
    else:
        document = list(study.documents)[path.document]
    return predict_next_tokens(model, Documents.of([document]))


def words_of(study: Study, ids: Int[Tensor, " time"]) -> tuple[str, ...]:
    """The words of tokens: their ids without a model, empty strings without tokens."""
    if bool((ids == NO_TOKEN).all()):
        return ("",) * len(ids)
    if study.model is None:
        return tuple(f"#{number}" for number in ids.tolist())
    return tuple(study.model.decode(ids.tolist()))


def _paths(paths: Paths) -> Iterator[ObservedPath]:
    """All paths with a transition."""
    return (path for block in paths for path in _unpadded(block) if path.steps > 0)


def _unpadded(block: Trajectories) -> Iterator[ObservedPath]:
    """The longest run of consecutive observations of each path."""
    times = block.times.expand(block.mask.shape)
    for row, seen in enumerate(block.mask):
        number = int(block.document[row])
        run = longest_run(seen)
        parts = (block.states[row, run], times[row, run], block.tokens[row, run])
        yield ObservedPath(f"test document {number}", *parts, document=number)


def longest_run(seen: Bool[Tensor, " time"]) -> slice:
    """The first of the longest runs of true values; empty if there is none.

    >>> longest_run(torch.tensor([True, False, True, True, False]))
    slice(2, 4, None)
    """
    place = torch.arange(1, len(seen) + 1, device=seen.device)
    gap = place.where(~seen, 0).cummax(0).values  # one past the last gap
    length = place - gap
    last = int(length.argmax()) if len(seen) else -1
    return slice(int(gap[last]), last + 1) if len(seen) else slice(0, 0)


def _of_prompt(study: Study, prompt: str) -> ObservedPath:
    """The states of a prompt at the view's site, captured like those of the run."""
    view, _ = study.single
    # along the depth each token has a path; the last token has seen the whole prompt
    *_, path = _unpadded([*prompt_paths(study, prompt).paths[view]][-1])
    name = "the last token of the prompt" if view.axis == "layer" else "the prompt"
    return replace(path, name=name, time_unit=TIME_UNITS[view.axis])
