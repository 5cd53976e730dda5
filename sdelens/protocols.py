"""Everything that sdelens reads of a plugin or of a model. No plugin needs a base class.

| group               | required        | optional                                           |
|---------------------|-----------------|----------------------------------------------------|
| `sdelens.models`    | `ModelAdapter`  | `ModelLoader`                                      |
| what adapters give  | `LanguageModel` | see `sdelens.model_protocols`                      |
| `sdelens.sources`   | `Source`        | `SizedSource`, `TruncatedSource`, `SamplingSource` |
| `sdelens.probes`    | `Probe`         | `MatchedProbe`, `StackedProbe`                     |
| `sdelens.analyzers` | `Analyzer`      |                                                    |
| `sdelens.reporters` | `Reporter`      | `FigureReporter`, `PageReporter`                   |

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
from sdelens.report import Figure, Finding, Report


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
class Versioned(Protocol):
    """A plugin that says which version of these protocols it was written for; others are for 1."""

    api: ClassVar[int] = 1


@runtime_checkable
class LanguageModel(Protocol):
    """A language model through its adapter, or any object with these members."""

    @property
    def card(self) -> ModelCard:
        """What a run must know of the model."""

    @property
    def library(self) -> str:
        """The name of the adapter's plugin, for the manifest of a run; empty without one."""

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where fits are computed."""

    def hooked(self) -> bool:
        """Whether hooks of its user may change what is computed: such states are not cached."""

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


@runtime_checkable
class ModelAdapter(Protocol):
    """Group ``sdelens.models``, one class for each library: named as the library's root module."""

    @classmethod
    def adapt(cls, model: Any, **settings: Any) -> LanguageModel:
        """A model that its user holds, as it stands."""


@runtime_checkable
class ModelLoader(ModelAdapter, Protocol):
    """An adapter that also loads models by name."""

    @classmethod
    def load(cls, name: str, **settings: Any) -> LanguageModel:
        """The model in a folder, or of that name on the hub."""


@runtime_checkable
class Source(Protocol):
    """Group ``sdelens.sources``: where documents come from."""

    def documents(self, model: LanguageModel, *, seed: int) -> Iterator[Document]:
        """Documents as the model reads them, BOS included where it has one."""


@runtime_checkable
class SizedSource(Source, Protocol):
    """A source that knows how many documents it gives at most; the plan of a run shows it."""

    @property
    def documents_wanted(self) -> int:
        """A setting, as a rule: ``--documents``."""


@runtime_checkable
class TruncatedSource(Source, Protocol):
    """A source that cuts documents off; those of others may be as long as the model's context."""

    @property
    def length(self) -> int:
        """The most tokens after BOS. A setting, as a rule: ``--length``."""


@runtime_checkable
class SamplingSource(Source, Protocol):
    """A source that samples its documents from the model of the run."""

    @property
    def sampler(self) -> Any:
        """The `sdelens.states.sampling.Sampler` that draws the tokens."""


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
    """Group ``sdelens.probes``: a frozen dataclass whose fields are its settings."""

    densities: ClassVar[tuple[str, ...]] = ("discrete",)
    """What it can fit, the default for tokens first and for continuous data last."""
    looks_back: ClassVar[bool] = False
    """Whether its laws look further back than one state."""
    density: str = "discrete"
    """A setting: the one of `densities` that is fitted."""

    def fit(self, train: Paths, validation: Paths, *, seed: int, watch: Watch) -> Fit:
        """A new law; the probe stays as it is."""

    def restore(self, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Law:
        """The law that was saved with these tensors and this configuration."""


@runtime_checkable
class MatchedProbe(Probe, Protocol):
    """A probe that says how the noise of its baselines is made, so that they match it."""

    def effort(self, dim: int) -> Any:
        """A `sdelens.fitting.baselines.Effort` for states of that many dimensions."""


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


NEEDS = ("sde", "ensemble", "prompt", "model", "attention")
"""What an analyzer may need; `sdelens.runs.needs` says how each is satisfied."""
SCOPES = ("view", "run")
"""Whether an analyzer is asked about each layer by itself, or once about all of them."""
Study = TypeVar("Study", contravariant=True)
"""A `sdelens.fitting.study.Study`."""


@runtime_checkable
class Analyzer(Protocol[Study]):
    """Group ``sdelens.analyzers``: a frozen dataclass that asks one question of a fitted run."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Those of `NEEDS` without which there is no answer."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """Those of `NEEDS` that it uses where they are there."""
    scope: ClassVar[str] = "view"
    """One of `SCOPES`."""

    def analyze(self, study: Study, *, seed: int) -> Finding:
        """The answer, with its error, its figures and their data."""


@runtime_checkable
class Reporter(Protocol):
    """Group ``sdelens.reporters``: writes a report to a file or a folder."""

    def render(self, report: Report, folder: Folder) -> Folder:
        """Write the report inside `folder` and return the path of what was written."""


@runtime_checkable
class FigureReporter(Reporter, Protocol):
    """Saves the figures of a run's findings, and returns one as SVG for a notebook."""

    def svg(self, figure: Figure) -> str:
        """The figure as an SVG document."""


@runtime_checkable
class PageReporter(Reporter, Protocol):
    """Writes a report unless another reporter is named, and returns it for a notebook."""

    def page(self, report: Report) -> str:
        """The page as an HTML document."""
