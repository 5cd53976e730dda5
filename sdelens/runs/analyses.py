"""`study.analyze`: runs analyzers by name, and lists them."""

from collections.abc import Callable
from dataclasses import fields
from inspect import Parameter, Signature, cleandoc
from typing import TYPE_CHECKING, Any, get_type_hints, overload

from sdelens.errors import UsageError
from sdelens.fitting.study import Study
from sdelens.interfaces import load
from sdelens.registry import plugins
from sdelens.report import Finding
from sdelens.runs.analyzer_list import AnalyzerList, ListedAnalyzer

OWN: dict[str, Any] = {"prompt": str | None, "layer": int | str | None}
"""Arguments of every analysis, which are not settings of the analyzer."""
Run = Callable[..., Finding]
"""Runs the analyzer of a name, with a prompt, a layer and settings."""


class Analyses:
    """Runs analyzers by name: `study.analyze("losses")` or `study.analyze.losses()`.

    Without a name, lists the analyzers with their questions and costs. Its attributes are the
    analyzers, with their settings as arguments. They are plain attributes, because IPython
    completes neither properties nor what `__getattr__` returns.
    """

    def __init__(self, study: Study, run: Run) -> None:
        self._study, self._run = study, run
        for name in plugins("analyzer"):
            setattr(self, name, NamedAnalysis(name, study, run))

    if TYPE_CHECKING:  # which analyzers there are is known at run time only

        def __getattr__(self, name: str) -> Run: ...

    @overload
    def __call__(self) -> AnalyzerList: ...

    @overload
    def __call__(
        self,
        name: str,
        *,
        prompt: str | None = None,
        layer: int | str | None = None,
        **settings: Any,
    ) -> Finding: ...

    def __call__(self, name: str | None = None, **given: Any) -> AnalyzerList | Finding:
        """Run an analyzer with settings by name, or list all analyzers.

        `layer` selects one of several fitted layers for analyzers of a single layer. The finding
        is displayed in notebooks and saved with the run. A model in memory must still be that of
        the fit.
        """
        if name is not None:
            return self._run(name, **given)
        if given:
            raise UsageError(
                f"analyze({', '.join(f'{key}=…' for key in given)}) does not name an analyzer: "
                'give one, as in study.analyze("uncertainty"), or call study.analyze_all'
            )
        return AnalyzerList.of(self._study)

    def __repr__(self) -> str:
        return repr(AnalyzerList.of(self._study))

    def _repr_html_(self) -> str:
        return AnalyzerList.of(self._study)._repr_html_()


class NamedAnalysis:
    """Runs one analyzer, whose settings are its signature; its class is imported on first use."""

    def __init__(self, name: str, study: Study, run: Run) -> None:
        self.__name__ = name
        self._study, self._run = study, run

    def __call__(self, **given: Any) -> Finding:
        return self._run(self.__name__, **given)

    def __repr__(self) -> str:
        return f"<study.analyze.{self.__name__}>"

    @property
    def __signature__(self) -> Signature:
        return signature_of(load("analyzer", self.__name__))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        kind = load("analyzer", self.__name__)
        return documentation(kind, ListedAnalyzer.of(self.__name__, self._study))


def signature_of(kind: Any) -> Signature:
    """The arguments of every analysis, then the settings of an analyzer with their defaults."""
    hints = get_type_hints(kind)
    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=hint)
        for name, hint in OWN.items()
    ]
    settings = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=getattr(kind, field.name, Parameter.empty),
            annotation=hints[field.name],
        )
        for field in fields(kind)
        if field.init and field.name not in OWN
    ]
    return Signature([*own, *settings], return_annotation=Finding)


def documentation(kind: Any, listed: ListedAnalyzer) -> str:
    """The docstring of an analyzer, with its question and cost."""
    model = ", runs the model" if listed.uses_model else ""
    lines = (
        f"Question: {listed.question}" if listed.question else "",
        f"Cost: {listed.cost}{model}",
        f"Note: {listed.lacks}" if listed.lacks else "",
    )
    return "\n\n".join((cleandoc(kind.__doc__ or ""), "\n".join(filter(None, lines))))
