"""A lens on a model that the user already has in memory."""

import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

from sdelens.digest import digest
from sdelens.errors import UsageError, shortened
from sdelens.fitting.options import FitKeywords, split_keywords, with_options
from sdelens.model_protocols import Listener
from sdelens.models import language_model
from sdelens.paths.documents import Documents
from sdelens.protocols import LanguageModel
from sdelens.runs.engine import execute
from sdelens.runs.in_memory import GIVEN, Given, Texts, documents_given
from sdelens.runs.job import CHOICES, Job
from sdelens.runs.observer import Observer, at_hand
from sdelens.runs.open_study import OpenStudy
from sdelens.states.capturing import capture, sites_of
from sdelens.states.identity import identified
from sdelens.states.live_capture import LiveCapture, live_capture
from sdelens.states.recording import Recording
from sdelens.states.sites import Layers
from sdelens.temporary import Temporary
from sdelens.unicode_text import require_unicode


class LensKeywords(FitKeywords, total=False):
    """The options of `Job` that apply to a model in memory, as keywords."""

    probe: str
    axis: str
    skip_first: int
    target: str
    branches: int | None


@dataclass(frozen=True, eq=False)
class Lens:
    """A user's model with its current weights and hooks; it is never changed."""

    held: Any
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> LanguageModel:
        """The model's adapter, created anew because the weights may have changed."""
        return language_model(self.held, **self.settings)

    def __repr__(self) -> str:
        held = self.held
        if isinstance(held, LanguageModel):
            return f"<lens on {held.card.name}>"
        return f"<lens on {type(held).__module__}.{type(held).__qualname__}>"

    def capture(
        self,
        texts: Texts,
        *,
        layers: Layers = None,
        length: int | None = None,
        skip_first: int = 1,
        cache: Path | str | None = None,
        attention_mask: Any = None,
        observer: Observer | None = None,
    ) -> Recording:
        """Record states along one or many texts or token id sequences; see `sdelens.capture`.

        `attention_mask`, as a tokenizer returns it with padded ids ``[text, time]``, removes the
        padding; ids that begin or end with padding are refused without it.
        """
        model, watcher = self.model, observer or at_hand()
        documents = documents_given(model, texts, length=length, attention_mask=attention_mask)
        with watcher.stage("capture", int(documents.lengths.sum()), "tokens") as done:
            return capture(
                model, documents, layers=layers, skip_first=skip_first, cache=cache, watch=done
            )

    def record(
        self, *, layers: Layers = None, skip_first: int = 1
    ) -> AbstractContextManager[LiveCapture]:
        """Record states while the model runs: `with lens.record(layers=6) as live: …`."""
        model = self.model
        if not isinstance(model, Listener):
            raise UsageError(
                f"{model.card.name} cannot be recorded through its adapter: give texts to "
                "capture or fit"
            )
        return live_capture(model, sites_of(layers, model), skip_first=skip_first)

    @with_options(Job, LensKeywords)
    def fit(
        self,
        texts: Texts | LiveCapture | None = None,
        *,
        prompts: Sequence[str] | PathLike[str] | str | None = None,
        answers: int | None = None,
        documents: int | None = None,
        length: int | None = None,
        layers: Layers = None,
        source_settings: Mapping[str, Any] | None = None,
        observer: Observer | None = None,
        **keywords: Unpack[LensKeywords],
    ) -> OpenStudy:
        """Fit each layer, with baselines and held-out scores: `lens.fit(texts, layers=6)`.

        `texts` are at least ten strings, token id sequences or a tensor of ids, or a live capture
        with its states. Without texts, the model answers `prompts`, a list or the name of a file
        or a dataset, `answers` times each: at most `documents` answers of at most `length` tokens.
        Without prompts, a model with a chat template answers questions that come with the package,
        and the texts of other models begin after BOS. `source_settings` are other settings of the
        source `sampled`, such as ``{"temperature": 0.7, "system": "Be brief."}``. Options are
        those of `Job`, as in `sdelens fit`; other keywords are settings of the probe. `observer`
        receives progress; notebooks have one by default. The run is in a temporary folder until it
        is saved.
        """
        model = self.model
        sampled = _given(
            {
                "prompts": _listed_prompts(prompts),
                "answers": answers,
                "documents_wanted": documents,
                "length": length,
            }
        ) | dict(source_settings or {})
        if texts is not None and (extra := [name for name in sampled if name != "length"]):
            name = extra[0].removesuffix("_wanted")
            raise UsageError(f"{name}= applies only to sampled texts: omit it when you pass texts")
        given = Given(model)
        if isinstance(texts, LiveCapture):
            given = Given(model, texts.documents, texts.recording)
            layers = texts.layers
        elif texts is not None:
            given = Given(model, documents_given(model, texts, length=length))
        options = split_keywords(Lens.fit, keywords.get("probe", Job.probe), keywords)
        settings = options | {
            "model": model.card.name,
            "dtype": model.card.dtype if model.card.dtype in CHOICES["dtype"] else "float32",
            "source": Job.source if texts is None else GIVEN,
            "source_settings": described(given.documents) or sampled,
            "cache": False,
        }
        if layers is not None and options.get("axis") != "layer":
            settings["layers"] = _joined(layers)
        if isinstance(texts, LiveCapture):
            settings["skip_first"] = texts.skip_first
        job = Job.of(settings)
        kept = Temporary()
        place = kept.folder / _run_name(job, given)
        run = execute(job, place, given=given, observer=observer or at_hand())
        return OpenStudy.of(run.holding(model), kept, lambda: self.model)


def _run_name(job: Job, given: Given) -> str:
    """The name of a run's folder, with the functions of the user's hooks if there are any."""
    name = Path(job.name).name
    if given.recording is not None:
        card = given.recording.origin.model
    elif given.model is not None and given.model.hooked():
        card = replace(identified(given.model), revision="")
    else:
        return name
    if not card.hooks:
        return name
    functions = dict.fromkeys(hook.partition(" at ")[0] for hook in card.hooks)
    words = re.sub(r"[^\w+.]+", "_", "+".join(functions))[:40]
    # hooks of the same name may do different things, as the states on the reference text show
    number = digest([job.hash8, card.hooks, card.reference, card.revision])[:8]
    return f"{name.removesuffix(f'-{job.hash8}')}-{words}-{number}"


def _listed_prompts(prompts: Sequence[str] | PathLike[str] | str | None) -> Any:
    """The prompts as a setting: a list of texts, or the name of a file or a dataset."""
    if prompts is None or isinstance(prompts, str | PathLike):
        return prompts if prompts is None else fspath(prompts)
    listed = list(prompts)
    if not listed or not all(isinstance(prompt, str) for prompt in listed):
        raise UsageError(
            "prompts must be a list of strings, or the name of a file or a dataset, got "
            f"{shortened(prompts)}: put each prompt into a string"
        )
    return [require_unicode(prompt, f"prompt {k}") for k, prompt in enumerate(listed)]


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _joined(layers: int | str | Sequence[int | str]) -> str:
    return str(layers) if isinstance(layers, int | str) else ",".join(map(str, layers))


def described(documents: Documents | None) -> dict[str, Any]:
    """Description of texts that are not stored in a job."""
    return {"documents": len(documents), "digest": documents.digest()[:16]} if documents else {}


def attach(model: Any, *, tokenizer: Any = None, hook: str | None = None) -> Lens:
    """Attach to a model, usually one in memory: `sdelens.attach(model, tokenizer=tok)`.

    `model` is a causal language model of Hugging Face, a `TransformerBridge` or a
    `HookedTransformer` of TransformerLens, or any torch module that reads token ids, with `hook`
    naming the submodule whose output is its only layer. The model is used with the user's hooks
    active and is unchanged afterwards. Without a tokenizer, the model's own is used if available
    locally; token ids need none. Names and folders are loaded once:
    `sdelens.attach("tiny").fit(layers=6)`.
    """
    settings = _given({"tokenizer": tokenizer, "hook": hook})
    if isinstance(model, str | PathLike):
        if settings:
            raise UsageError(
                f"{', '.join(settings)} belong to a model in memory, but {fspath(model)!r} is "
                "loaded with its own tokenizer: leave them out"
            )
        model = language_model(model)
    lens = Lens(model, settings)
    _ = lens.model  # raises now if the model cannot be attached
    return lens
