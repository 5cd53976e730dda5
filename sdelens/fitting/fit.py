"""Fits a law to paths and scores it: split, basis, probe, baselines."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Unpack

from sdelens.containment.contained import contained
from sdelens.errors import UsageError
from sdelens.fitting.comparison import UNOBSERVED, FitProgress, comparisons, density_of
from sdelens.fitting.fitted import Fitted, Record
from sdelens.fitting.metrics import CONSTANT as CONSTANT
from sdelens.fitting.metrics import STATE_DEPENDENT as STATE_DEPENDENT
from sdelens.fitting.options import FitKeywords, FitOptions, split_keywords, with_options
from sdelens.interfaces import build_plugin, load, require_declared
from sdelens.origin import Origin
from sdelens.paths.from_arrays import GivenPaths, States, document_groups
from sdelens.paths.split import Split, split_by_group
from sdelens.paths.trajectories import Paths, dt_of, require_transitions
from sdelens.protocols import FitTask, Probe
from sdelens.settings import build, described
from sdelens.wording import counted

DEFAULT = FitOptions()


@with_options(FitOptions, FitKeywords)
def fit(
    states: States | Paths,
    *,
    dt: float | None = None,
    probe: str | Probe = FitOptions.probe,
    state_dependent: bool = False,
    **keywords: Unpack[FitKeywords],
) -> Fitted:
    """Fit a probe to paths without a language model: `sdelens.fit(states, probe="linear")`.

    States are ``[path, time, dim]``, or a list of paths ``[time, dim]`` of any length. A state
    that contains NaN is missing. 80% of the paths are used for training, 10% for validation and
    10% for held-out scores next to constant-noise baselines (`Fitted.record.scores`). Without
    `dt`, time is discrete with unit steps; with `dt`, the paths sample continuous time and the
    default is the probe's continuous density (``exact`` for linear, ``auto`` for neural). With
    `state_dependent`, baselines with state-dependent noise are trained as well. An
    `ensemble` of fits to resampled paths provides `Fitted.drift_stderr` and
    `Fitted.covariance_stderr`. Options are the fields of `FitOptions`; other keywords are settings
    of the probe.

    >>> import torch
    >>> noise = torch.randn(200, 50, 1, generator=torch.Generator().manual_seed(0))
    >>> fitted = fit(noise.cumsum(1), probe="constant")
    >>> fitted.transition(0.0, torch.zeros(1)).covariance.shape
    torch.Size([1, 1])
    """
    options = build(FitOptions, split_keywords(fit, probe, keywords), "fit")
    if dt is not None and not (isinstance(dt, int | float) and 0 < dt < math.inf):
        raise UsageError(f"dt must be a number above 0, got {dt!r}")
    paths, missing = _observed(states, 1.0 if dt is None else dt)
    if isinstance(probe, str):
        kind, densities = probe, load("probe", probe).densities
        density = densities[0 if dt is None else -1]
        built: Probe = build_plugin("probe", probe, {"density": density} | options.probe_settings)
    elif options.probe_settings:
        raise UsageError(
            "settings can be given only with the name of a probe, got "
            f"{options.probe_settings} with {probe!r}"
        )
    else:
        kind, built = type(probe).__name__, probe
        require_declared(probe, "probe", f"the probe {kind}")
    groups = document_groups(paths)
    sides = split_by_group(groups, seed=options.seed)
    fitted = fit_view(
        paths,
        sides,
        groups,
        built,
        options,
        kind=kind,
        state_dependent=state_dependent,
    )
    scores = fitted.record.scores
    scores = {**scores, "notes": [*missing, *_copies(groups), *scores["notes"]]}
    return replace(fitted, record=replace(fitted.record, scores=scores))


def _copies(groups: Mapping[int, int]) -> Sequence[str]:
    """A sentence on paths that are copies of others."""
    if not (copies := len(groups) - len(set(groups.values()))):
        return ()
    verb = "is a copy" if copies == 1 else "are copies"
    return (
        f"{copies:,} of {counted(len(groups), 'path')} {verb} of others: equal paths count once.",
    )


def _observed(states: States | Paths, dt: float) -> tuple[Paths, tuple[str, ...]]:
    """The paths, and sentences on what is missing in them."""
    if isinstance(states, Paths):
        return states, ()
    given = GivenPaths.of(states, dt)
    return given.paths, given.notes


@dataclass(frozen=True, eq=False)
class ViewTask:
    """One view to fit: its paths, its seed, and the origin of its states.

    `new` are the paths of the test documents with a mask of the observations after a prefix that
    occurs in no training document. `steps` replaces the training paths if laws learn from other
    transitions between the same states.
    """

    paths: Paths
    seed: int
    new: Paths | None = None
    origin: Origin | None = None
    steps: Paths | None = None

    def fit_task(self, sides: Split) -> FitTask:
        """Training and validation paths; raises `UsageError` if a side has no transition."""
        train, validation = self.paths.select(sides.train), self.paths.select(sides.validation)
        test = self.paths.select(sides.test)
        named = {"training": train, "validation": validation, "held-out": test}
        for side, part in named.items():
            require_transitions(part, side)
        return FitTask(train, validation, self.seed)


def fit_views(
    views: Sequence[ViewTask],
    sides: Split,
    groups: Mapping[int, int],
    probe: Probe,
    options: FitOptions,
    *,
    kind: str,
    state_dependent: bool = False,
    progress: FitProgress = UNOBSERVED,
) -> list[Fitted]:
    """Fit each view on its training documents and score it on its test documents.

    A `StackedProbe` fits all views in one batch. Each view has its own seed; `state_dependent`
    trains baselines with state-dependent noise as well.
    """
    tasks = [view.fit_task(sides) for view in views]
    with contained(f"the probe {kind}"):
        found = comparisons(
            tasks,
            probe,
            options,
            steps=[view.steps for view in views],
            state_dependent=state_dependent,
            groups=groups,
            progress=progress,
        )
        fitted = []
        for view, task, fought in zip(views, tasks, found, strict=True):
            law = fought.found.law
            record = Record(
                probe=kind,
                settings=described(probe),
                density=density_of(law, probe),
                dt=dt_of(task.train),
                seed=view.seed,
                history=fought.found.history,
                scores=fought.scores(view.paths.select(sides.test), groups, view.new),
            )
            fitted.append(
                Fitted(law, fought.basis, record, view.origin, fought.complement, fought.members)
            )
    return fitted


def fit_view(
    paths: Paths,
    sides: Split,
    groups: Mapping[int, int],
    probe: Probe,
    options: FitOptions = DEFAULT,
    *,
    kind: str,
    state_dependent: bool = False,
) -> Fitted:
    """`fit_views` for a single view, with the seed of the options."""
    views = [ViewTask(paths, options.seed)]
    [fitted] = fit_views(
        views, sides, groups, probe, options, kind=kind, state_dependent=state_dependent
    )
    return fitted
