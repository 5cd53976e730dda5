"""Everything that sdelens reads from a plugin or a model. No plugin needs a base class.

===================  ===============  ==================================================
group                required         optional
===================  ===============  ==================================================
`sdelens.models`     `ModelAdapter`   see `sdelens.model_protocols`
what adapters give   `LanguageModel`  see `sdelens.model_protocols`
`sdelens.sources`    `Source`         `SizedSource`, `TruncatedSource`, `CheckedSource`; see
                                      `sdelens.sampling_protocols`
`sdelens.probes`     `Probe`          `MatchedProbe`, `StackedProbe`
`sdelens.analyzers`  `Analyzer`       `CostedAnalyzer`; see `sdelens.report_protocols`
`sdelens.reporters`  `Reporter`       see `sdelens.report_protocols`
===================  ===============  ==================================================

All members of a required protocol must exist; the values of class attributes are examples, not
defaults. A plugin implements an optional protocol by having its members, and may be `Versioned`.
`sdelens.interfaces` checks this on loading, and `sdelens.testing` what else each kind promises.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as Folder
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sdelens.laws.law import Law
from sdelens.origin import ModelCard
from sdelens.paths.documents import Document
from sdelens.paths.trajectories import Paths
from sdelens.report import Finding, Report


@dataclass(frozen=True, order=True)
class Site:
    """A place in a language model: the word embedding, a block's output, its attention pattern."""

    kind: Literal["embed", "block", "attention"]
    layer: int = 0

    def __str__(self) -> str:
        return "embed" if self.kind == "embed" else f"{self.kind}{self.layer}"


@dataclass(frozen=True, eq=False)
class Pass:
    """Result of a forward pass: values read, logits if requested, key-value cache."""

    reads: Mapping[Site, Tensor]
    logits: Float[Tensor, "batch time vocabulary"] | None = None
    past: Any = None

    @property
    def required_logits(self) -> Float[Tensor, "batch time vocabulary"]:
        """The logits; raises `TypeError` if they were not requested."""
        if self.logits is None:
            raise TypeError("run(logits=True) must give logits")
        return self.logits


Edit = Callable[[Tensor], Tensor]
"""A function that maps the value at a site to its replacement."""


@runtime_checkable
class Versioned(Protocol):
    """A plugin with a protocol version; the version of other plugins is 1."""

    api: ClassVar[int] = 1


@runtime_checkable
class LanguageModel(Protocol):
    """A language model: an adapter, or any object with these members."""

    @property
    def card(self) -> ModelCard:
        """Name, sizes and fingerprint of the model."""

    @property
    def library(self) -> str:
        """Name of the adapter plugin, for the manifest; empty for other objects."""

    @property
    def device(self) -> torch.device:
        """Device of the weights and of the fits."""

    def hooked(self) -> bool:
        """Whether hooks of the user may change the computation; such states are not cached."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""

    def decode(self, ids: Sequence[int]) -> list[str]:
        """The text of each token."""

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
        """One forward pass over right-padded ids, which may stop at the deepest site.

        `past` continues an earlier pass with `keep`. The model's causal mask is the only mask.
        With `keep`, logits may be those of the last position only.
        """

    def untrained(self, seed: int) -> "LanguageModel":
        """The same architecture with new random weights."""


@runtime_checkable
class ModelAdapter(Protocol):
    """Group ``sdelens.models``: one adapter per library, named after the library's root module."""

    @classmethod
    def adapt(cls, model: Any, **settings: Any) -> LanguageModel:
        """Adapt a model object without changing it."""


@runtime_checkable
class Source(Protocol):
    """Group ``sdelens.sources``: provides documents."""

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        """Documents as the model reads them, including BOS if it has one."""


@runtime_checkable
class SizedSource(Source, Protocol):
    """A source with a maximum number of documents, which the plan of a run shows."""

    @property
    def documents_wanted(self) -> int:
        """Maximum number of documents, usually a setting (``--documents``)."""


@runtime_checkable
class TruncatedSource(Source, Protocol):
    """A source that truncates documents; others may use the whole context."""

    @property
    def length(self) -> int:
        """Maximum number of tokens after BOS, usually a setting (``--length``)."""


@runtime_checkable
class CheckedSource(Source, Protocol):
    """A source whose input is checked before a model is loaded."""

    def check_input(self) -> None:
        """Raise `UsageError` if the input cannot be read."""


@dataclass(frozen=True)
class Epoch:
    """Losses after one pass over the training transitions.

    `drift` is the paper's drift loss, the mean squared error of the predicted next state per
    dimension. `diffusion` is its diffusion loss, the cross-entropy in nats per dimension (the
    paper's KL up to the entropy of the data), which is minimised. `total` is their sum.
    """

    number: int
    planned: int
    train: Mapping[str, float]
    validation: Mapping[str, float]


Watch = Callable[[Epoch], None]
"""Called after each epoch."""


def ignore_epoch(epoch: Epoch) -> None:
    """Ignores epochs."""
    del epoch


Tell = Callable[[str], None]
"""Receives messages."""


def ignore_message(sentence: str) -> None:
    """Ignores messages."""
    del sentence


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted law with its training history."""

    law: Law
    history: tuple[Epoch, ...] = ()
    notes: tuple[str, ...] = ()
    """Notes for users of the fit."""


@runtime_checkable
class Probe(Protocol):
    """Group ``sdelens.probes``: a frozen dataclass whose fields are its settings."""

    densities: ClassVar[tuple[str, ...]] = ("discrete",)
    """What it can fit, the default for tokens first and for continuous data last."""
    looks_back: ClassVar[bool] = False
    """Whether its laws look further back than one state."""
    density: str = "discrete"
    """A setting: the one of `densities` that is fitted."""

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        """Fit a new law; the probe does not change."""

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Law:
        """Restore a law from its saved tensors and configuration."""


@runtime_checkable
class MatchedProbe(Probe, Protocol):
    """A probe that specifies the noise of its baselines, so that they match its own."""

    def effort(self, dim: int) -> Any:
        """The `sdelens.fitting.baselines.Effort` for states of dimension `dim`."""


@dataclass(frozen=True, eq=False)
class FitTask:
    """One of several joint fits: a layer, or a member of an ensemble."""

    train: Paths
    validation: Paths
    seed: int


@runtime_checkable
class StackedProbe(Probe, Protocol):
    """A probe that fits several laws in one batch."""

    def fit_stack(self, tasks: Sequence[FitTask], *, watch: Watch) -> list[Fit]:
        """Fit a law to each task, with the same result as separate fits; shapes are equal."""


NEEDS = ("sde", "ensemble", "prompt", "model", "attention")
"""What an analyzer may need; `sdelens.runs.needs` states how to satisfy each."""
SCOPES = ("view", "run")
"""Whether an analyzer runs once per view, or once for all views of a run."""
USES_MODEL = frozenset({"model", "attention", "prompt"})
"""Needs that require loading the model."""
COSTS = ("seconds", "a minute", "minutes")
"""Costs of analyzers on the embedded model: up to 20 seconds, up to 90, or more."""
AnyStudy = TypeVar("AnyStudy", contravariant=True)  # a `sdelens.fitting.study.Study`


@runtime_checkable
class Analyzer(Protocol[AnyStudy]):
    """Group ``sdelens.analyzers``: a frozen dataclass that answers one question about a fit."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """The required ones of `NEEDS`."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """The optional ones of `NEEDS`, used if available."""
    scope: ClassVar[str] = "view"
    """One of `SCOPES`."""

    def analyze(self, study: AnyStudy, *, seed: int) -> Finding:
        """The finding, with standard errors, figures and their data."""


@runtime_checkable
class CostedAnalyzer(Analyzer[AnyStudy], Protocol[AnyStudy]):
    """An analyzer with a rough cost, which the list of analyzers shows."""

    cost: ClassVar[str] = "seconds"
    """One of `COSTS`: with default settings, 512 texts of 200 tokens and one layer."""


@runtime_checkable
class QuickAnalyzer(Analyzer[AnyStudy], Protocol[AnyStudy]):
    """Has settings for a first look, which ``sdelens analyze --quick`` uses."""

    quick: ClassVar[dict[str, Any]] = {"documents": 16}
    """Settings that measure less: wider errors, but the same quantities."""


@runtime_checkable
class Reporter(Protocol):
    """Group ``sdelens.reporters``: writes a report to a file or a folder."""

    def render(self, report: Report, folder: Folder) -> Folder:
        """Write the report inside `folder` and return the path of what was written."""
