"""The whole surface that plugins implement, on one screen. None of them needs a base class.

A class attribute `api`, an integer, says which version of it a plugin was written for: 1 if there
is none. `sdelens.testing` has what each kind promises, as checks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from sdelens.laws.law import Law
from sdelens.origin import ModelCard
from sdelens.paths.documents import Document
from sdelens.paths.trajectories import Paths
from sdelens.report import Report


@dataclass(frozen=True, order=True)
class Site:
    """A place in a language model: the word embedding, a block's output, its attention pattern."""

    kind: Literal["embed", "block", "attention"]
    layer: int = 0

    def __str__(self) -> str:
        return "embed" if self.kind == "embed" else f"{self.kind}{self.layer}"


@dataclass(frozen=True, eq=False)
class Pass:
    """What one forward pass gave: values read, logits if asked for, the cache to go on from."""

    reads: Mapping[Site, Tensor]
    logits: Float[Tensor, "batch time vocabulary"] | None = None
    past: Any = None

    @property
    def required_logits(self) -> Float[Tensor, "batch time vocabulary"]:
        """The logits, where they were asked for."""
        if self.logits is None:
            raise TypeError("run(logits=True) must give logits")
        return self.logits


Edit = Callable[[Tensor], Tensor]
"""A function of the value at a site, which takes its place."""


@runtime_checkable
class LanguageModel(Protocol):
    """Group ``sdelens.models``: one adapter for each library that holds models."""

    @property
    def card(self) -> ModelCard:
        """What a run must know of the model."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The text of each token by itself."""

    def run(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        read: Sequence[Site] = (),
        edit: Mapping[Site, Edit] | None = None,
        past: Any = None,
        keep: bool = False,
        logits: bool = False,
    ) -> Pass:
        """One forward pass over right-padded ids, stopped at the deepest site if no more is asked.

        `past` goes on from an earlier pass with `keep`; the model's own causal mask is the only
        one. With `keep`, logits may be those of the last position only.
        """

    def untrained(self, seed: int) -> "LanguageModel":
        """The same architecture with freshly drawn weights."""


@dataclass(frozen=True, eq=False)
class ForwardRecord:
    """One forward pass that a user ran: what went in, and the states that it passed through."""

    tokens: Int[Tensor, "batch time"]
    real: Bool[Tensor, "batch time"]
    """Which of them are no padding."""
    reads: Mapping[Site, Tensor]
    before: int = 0
    """Columns that the key-value cache held already."""
    went_in: Any = None
    """The cache that the pass was given, and the one that came out."""
    came_out: Any = None


@runtime_checkable
class Listener(Protocol):
    """A `LanguageModel` that can also be listened to while its user runs it."""

    @property
    def card(self) -> ModelCard:
        """What a run must know of the model."""

    @property
    def pad(self) -> int | None:
        """What rows that have ended are filled up with."""

    def listen(
        self,
        sites: Sequence[Site],
        heard: Callable[[ForwardRecord], None],
        left_out: Callable[[str], None],
    ) -> AbstractContextManager[None]:
        """Call `heard` after each pass; `left_out` says why where a pass cannot be told."""


@runtime_checkable
class BranchingModel(LanguageModel, Protocol):
    """A model that tries many next tokens after the prefixes of cached texts in one pass."""

    def branch(
        self,
        tokens: Int[Tensor, "batch position branch"],
        *,
        past: Any,
        after: Int[Tensor, " position"],
        read: Sequence[Site],
    ) -> Pass:
        """What is read of token ``[i, j, k]`` after the first ``after[j]`` tokens of text i.

        `past` is what a pass over the texts kept; it is shared by all of their prefixes and stays
        as it is. A token sees its prefix and itself, none of the others. Values read are ``[batch,
        position, branch, …]``. Raises `UsageError` where the cache cannot be shared so.
        """


@runtime_checkable
class Source(Protocol):
    """Group ``sdelens.sources``: where documents come from."""

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        """Documents as the model reads them, BOS included where it has one."""


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training transitions left behind.

    `drift` is the paper's drift loss (mean squared error of the predicted next state, per
    dimension); `diffusion` its diffusion loss, the cross-entropy of the data under the model's
    conditional (nats per dimension, the paper's KL up to the data's own entropy), which is
    minimised; `total` their sum.
    """

    number: int
    planned: int
    train: Mapping[str, float]
    validation: Mapping[str, float]


Watch = Callable[[Epoch], None]
"""Called after each epoch."""


def ignore_epoch(epoch: Epoch) -> None:
    """Nobody looks."""
    del epoch


Tell = Callable[[str], None]
"""Called with a sentence that is worth knowing."""


def ignore_message(sentence: str) -> None:
    """Nobody listens."""
    del sentence


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted law and how it came about."""

    law: Law
    history: tuple[Epoch, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences on the fit that whoever uses it should read."""


@runtime_checkable
class Probe(Protocol):
    """Group ``sdelens.probes``: a frozen dataclass whose fields are its settings.

    `densities` names what it can fit, the default for tokens first and for continuous data last. A
    probe may have a method ``effort(dim)``, a `sdelens.fitting.baselines.Effort`: how the noise of
    what it must beat is made. One whose laws look further back than one state says so by an
    attribute ``looks_back = True``.
    """

    densities: ClassVar[tuple[str, ...]]
    density: str

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        """A new law; the probe stays as it is."""

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Law:
        """The law that was saved with these tensors and this configuration."""


@dataclass(frozen=True, eq=False)
class FitTask:
    """One of several fits that are made together: a layer, or a member of an ensemble."""

    train: Paths
    validation: Paths
    seed: int


@runtime_checkable
class StackedProbe(Probe, Protocol):
    """A probe that fits several laws in one batched computation."""

    def fit_stack(self, tasks: Sequence[FitTask], *, watch: Watch) -> list[Fit]:
        """A new law for each task, each as if it were fitted alone; all of the same shape."""


@runtime_checkable
class Reporter(Protocol):
    """Group ``sdelens.reporters``: writes a report down."""

    def render(self, report: Report, folder: Folder) -> Folder:
        """Where it was written."""
