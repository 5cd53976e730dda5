"""A run on disk: the location of its parts, and how they are read."""

from collections.abc import Callable
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from sdelens.errors import UnknownName, UsageError
from sdelens.fitting.fitted import Fitted
from sdelens.fitting.study import Study, Viewed
from sdelens.interfaces import build_plugin
from sdelens.interfaces import load as load_plugin
from sdelens.models import language_model
from sdelens.origin import ModelCard
from sdelens.paths.documents import Documents
from sdelens.paths.split import Split, first_new
from sdelens.paths.trajectories import Paths
from sdelens.protocols import LanguageModel, Site
from sdelens.registry import plugins as known_plugins
from sdelens.runs.folder import MANIFEST, holds_run, within
from sdelens.runs.job import Job
from sdelens.runs.saved_documents import read_documents, write_documents
from sdelens.runs.saved_fit import read_fit, read_metrics, views_of, write_fit
from sdelens.runs.saved_states import saved_states
from sdelens.runs.schemas import read_manifest
from sdelens.schema import damaged
from sdelens.states.capturing import on_stderr, record, sites_in
from sdelens.states.deferred import DeferredPaths
from sdelens.states.identity import other_hooks, other_weights
from sdelens.states.recording import DEPTH, Recording, View
from sdelens.states.sampling import Sampler, sampler_of
from sdelens.states.state_cache import StateCache
from sdelens.store import file_digest, read_json, write_json


class Run:
    """The folder of a run; model and states are loaded on first use."""

    def __init__(self, folder: Path | str, model: Any = None) -> None:
        self.folder = Path(folder)
        self._given = model

    @property
    def exists(self) -> bool:
        """Whether the folder contains a run; the manifest is written first."""
        return holds_run(self.folder)

    @property
    def manifest(self) -> dict[str, Any]:
        """State, seeds, timings and versions."""
        return read_manifest(self.folder / MANIFEST)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_json(self.folder / MANIFEST, manifest)

    def note(self, **items: Any) -> None:
        """Add items to the manifest."""
        self.write_manifest(self.manifest | items)

    def note_time(self, stage: str, seconds: float) -> None:
        """Add the duration of a stage to the manifest."""
        self.note(timings=self.manifest["timings"] | {stage: round(seconds, 3)})

    @cached_property
    def job(self) -> Job:
        """The job with all settings resolved."""
        settings, file = self.manifest["settings"], self.folder / "config.json"
        job = Job.of(settings, self.folder / MANIFEST)
        # an interrupted fit may not have written it yet
        if file.exists() and (other := Job.of(read_json(file), file)).hash8 != job.hash8:
            raise UsageError(
                f"{file} must have the settings of {MANIFEST}, but has others "
                f"({other.differences(job)}): restore it, or fit again"
            )
        return job

    def write_config(self, job: Job) -> None:
        """Write the config for ``sdelens fit --config``, unless it exists."""
        if not (self.folder / "config.json").exists():
            write_json(self.folder / "config.json", job.json())

    def holding(self, model: LanguageModel) -> "Run":
        """The run with a model in memory."""
        self._given = model
        return self

    @cached_property
    def model(self) -> LanguageModel:
        """The model, whose weights must be those of the run."""
        job = self.job
        model = self._given
        if model is None or isinstance(model, str | PathLike):
            name = job.model if model is None else fspath(model)
            model = language_model(name, **job.model_settings)
        model = language_model(model)
        self.require_same(model)
        return model

    def require_same(self, model: LanguageModel, *, hooks: bool = False) -> None:
        """Raise `UsageError` unless a model's weights, and its hooks, are those of the run.

        Hooks matter only to what runs the model: states under other hooks are kept with the run.
        """
        made, card = self.card, model.card
        differing = other_weights(made, model) or (other_hooks(made, model) if hooks else ())
        if differing:
            raise UsageError(
                f"{self.folder} was made with the model {made.name}, but this {card.name} differs "
                f"({'; '.join(map(str, differing))}): give the model of the run, or fit again"
            )

    @property
    def card(self) -> ModelCard:
        """The card of the model of the run."""
        return ModelCard(**self.manifest["model"])

    @property
    def documents_file(self) -> Path:
        """File with token ids, offsets, starts, groups, annotations and the split."""
        return self.folder / "documents.safetensors"

    @property
    def documents(self) -> Documents:
        """All documents of the run."""
        return self._documents[0]

    @property
    def split(self) -> Split:
        """The split of the documents."""
        return self._documents[1]

    @cached_property
    def _documents(self) -> tuple[Documents, Split]:
        documents, sides = read_documents(self.documents_file)
        # earlier versions did not note it
        expected = self.manifest["documents"] if self.exists else None
        if expected and expected != file_digest(self.documents_file):
            damaged(self.documents_file, "", "must be as the fit wrote it, but its sha256 differs")
        return documents, sides

    def write_documents(self, documents: Documents, split: Split) -> None:
        """Write documents and split to one file."""
        write_documents(self.documents_file, documents, split)

    @cached_property
    def recording(self) -> Recording:
        """The captured states: from the cache, or captured again."""
        return self.record()

    @property
    def repeatable(self) -> bool:
        """Whether the states can be captured again by running the model over the texts."""
        origins = (self.fitted(view).origin for view in self.views)
        return all(origin is None or origin.repeatable for origin in origins)

    @property
    def recorded(self) -> bool:
        """Whether the states are available without running the model."""
        return "recording" in self.__dict__

    def record(
        self,
        watch: Callable[[int], None] = lambda _: None,
        tell: Callable[[str], None] = on_stderr,
    ) -> Recording:
        """The states kept with the run or in the cache, or else captured again.

        `tell` receives a sentence on states that are damaged and captured again.
        """
        origins = (self.fitted(view).origin for view in self.views)
        try:
            if kept := saved_states(self.folder, self.documents, origins):
                return kept
        except UsageError as error:
            if not self.repeatable:
                raise
            tell(f"The saved states of {self.folder} are recorded again: {error}")
        if not self.repeatable:
            raise UsageError(
                f"the states of {self.folder} depend on what the user did while they were "
                "captured, and were not saved: save the run with states=True, or use analyzers "
                "no states"
            )
        return record(
            self.model,
            self.documents,
            self.sites,
            skip_first=self.job.skip_first,
            cache=StateCache.of_user().folder if self.job.cache else None,
            watch=watch,
            tell=tell,
        )

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites of the job."""
        return sites_in(self.job.recorded, self.card)

    @property
    def wanted(self) -> tuple[View, ...]:
        """The wanted views, fitted or not: one per site, or one through the depth."""
        if self.job.axis == "layer":
            return (DEPTH,)
        return tuple(View(site) for site in self.sites)

    @property
    def views(self) -> tuple[View, ...]:
        """Views with a complete fit."""
        return views_of(self.folder / "fits")

    def view(self, layer: int | str | None) -> View:
        """The fitted view of a layer, or the only one."""
        named = {view.label: view for view in self.views}
        if layer is None and len(named) == 1:
            return next(iter(named.values()))
        if str(layer) not in named:
            asked = "" if layer is None else f", got {layer}"
            raise UsageError(f"layer must be one of {', '.join(named)}{asked}")
        return named[str(layer)]

    def fit_folder(self, view: View) -> Path:
        """The folder of the fit of a view."""
        return self.folder / "fits" / str(view)

    def is_done(self, view: View) -> bool:
        """Whether the fit of a view is complete."""
        return (self.fit_folder(view) / "DONE").exists()

    @property
    def complete(self) -> bool:
        """Whether the documents and the fits of all wanted views are there."""
        return self.documents_file.exists() and all(map(self.is_done, self.wanted))

    def write_fitted(self, view: View, fitted: Fitted) -> None:
        """Write the law, its record and its scores."""
        basis = {"name": self.job.basis, "center": self.job.center}
        write_fit(within(self.folder, "fits", str(view)), view, fitted, basis)

    def fitted(self, view: View) -> Fitted:
        """The fit of a view, restored by its probe; no code of the run is executed."""
        return read_fit(self.fit_folder(view), self._probe)

    def _probe(self, name: str) -> Any:
        """The class of the probe; raises an error naming its origin if it is not installed."""
        if name not in known_plugins("probe"):
            rows = self.manifest["plugins"]
            made = [p for p in rows if (p["kind"], p["name"]) == ("probe", name)]
            whence = "; ".join(f"{p['distribution']} {p['version']}".rstrip() for p in made)
            raise UnknownName(
                f"{self.folder} was fitted by the probe {name!r} of {whence or 'unknown origin'}, "
                "which is not installed: install it, or give its file with --plugin"
            )
        return load_plugin("probe", name)

    def metrics(self, view: View) -> dict[str, Any]:
        """The scores of a view."""
        return read_metrics(self.fit_folder(view))

    def new_prefixes(self, view: View) -> Paths:
        """Paths of the test documents, masked where the whole prefix occurs in training."""
        documents, sides = self.documents, self.split
        first = first_new(documents.padded(), sides.train, sides.test)
        return self.recording.masked(view, sides.test, first)

    def study(self, prompt: str | None = None, *, with_model: bool = False) -> Study:
        """The study of the run; states are read, or captured again, on first use."""
        return Study(
            name=self.folder.name,
            views={view: self._viewed(view) for view in self.views},
            documents=self.documents,
            model=self.model if with_model or prompt or self._given is not None else None,
            prompt=prompt,
            folder=self.folder,
            sampler=self.sampler,
        )

    @property
    def sampler(self) -> Sampler | None:
        """How the texts were sampled from the model; None for texts of any other source."""
        job = self.job
        if job.source not in known_plugins("source"):
            return None
        source = build_plugin("source", job.source, job.source_settings)
        return sampler_of(source)

    def _viewed(self, view: View) -> Viewed:
        paths = DeferredPaths(lambda: self.recording.view(view))
        return Viewed(
            fitted=self.fitted(view),
            train=paths.select(self.split.train),
            validation=paths.select(self.split.validation),
            test=paths.select(self.split.test),
        )
