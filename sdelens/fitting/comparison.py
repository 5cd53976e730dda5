"""A fit with its baselines, all fitted to the same documents."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sdelens.estimation.additive import Moments, times_of
from sdelens.estimation.complement import Complement, fit_complement
from sdelens.estimation.ensemble import ensemble_tasks, fit_all
from sdelens.estimation.identifiability import Identifiability
from sdelens.fitting.baselines import (
    baseline_means,
    constant_laws,
    effort_of,
    refitted,
    state_dependent_laws,
)
from sdelens.fitting.metrics import CONSTANT, STATE_DEPENDENT, VARIANT, scores_of
from sdelens.fitting.options import FitOptions
from sdelens.fitting.scores import sink_norm, tally
from sdelens.laws.law import Law
from sdelens.laws.resolution import resolution_notes
from sdelens.laws.sde import SDE
from sdelens.paths.basis import Basis, BasisSpec, fit_basis
from sdelens.paths.trajectories import Paths
from sdelens.protocols import (
    Fit,
    FitTask,
    MatchedProbe,
    Probe,
    Tell,
    Watch,
    ignore_epoch,
    ignore_message,
)
from sdelens.seeds import derive


@dataclass(frozen=True, eq=False)
class Comparison:
    """A fit with its baselines, all fitted to the same training documents."""

    basis: Basis
    found: Fit
    laws: Mapping[str, Law]
    sink: float
    complement: Complement | None
    equal: bool
    """Whether the fit and the baselines have state-dependent noise."""
    members: tuple[Law, ...] = ()
    """Fits to resampled documents."""
    known: Identifiability | None = None
    """Identifiability of a linear drift from this number of transitions."""
    resolution: tuple[str, ...] = ()
    """Notes on the change of the process within one step, for densities that need it small."""

    def scores(
        self, test: Paths, groups: Mapping[int, int], new: Paths | None = None
    ) -> dict[str, Any]:
        """Scores of all laws on test paths, the content of metrics.json.

        `new` are the test paths with a mask of the observations after a new prefix.
        """
        tallies = tally(
            self.laws,
            self.basis,
            test,
            groups,
            new=new,
            sink=self.sink,
            complement=self.complement,
        )
        compared = self.equal and "iid_position" + STATE_DEPENDENT in self.laws
        notes = [str(self.known)] if self.known and self.known.poor else []
        return scores_of(tallies, self.basis, state_dependent=compared) | {
            "linear_drift_error": finite(self.known.error) if self.known else None,
            "dropped_coordinates": self.basis.constant,
            "notes": [*self.basis.notes, *notes, *self.resolution, *self.found.notes],
        }


@dataclass(frozen=True)
class FitProgress:
    """Receivers of the epochs of fits, the epochs of baselines, and messages."""

    epoch: Watch = ignore_epoch
    baseline_epoch: Watch = ignore_epoch
    message: Tell = ignore_message


UNOBSERVED = FitProgress()


@dataclass(frozen=True, eq=False)
class FitInputs:
    """Inputs of the fits of one view: its paths in latent coordinates."""

    task: FitTask
    basis: Basis
    seen: Paths
    held: Paths
    moments: tuple[Moments, Moments]
    known: Identifiability
    """Of the observed paths, since branches of a prefix are not independent prefixes."""

    @classmethod
    def of(cls, task: FitTask, spec: BasisSpec, steps: Paths | None = None) -> "FitInputs":
        """A basis, latent paths and their sums of products; from `steps` if given."""
        basis = fit_basis(spec, task.train)
        seen, held = basis.view(steps or task.train), basis.view(task.validation)
        times = times_of(seen)
        moments = Moments.of(seen, times), Moments.of(held, times)
        occurred = Moments.of(basis.view(task.train), times) if steps else moments[0]
        return cls(task, basis, seen, held, moments, Identifiability.of(occurred))


def comparisons(
    tasks: Sequence[FitTask],
    probe: Probe,
    options: FitOptions,
    *,
    steps: Sequence[Paths | None] | None = None,
    state_dependent: bool = False,
    groups: Mapping[int, int] | None = None,
    progress: FitProgress = UNOBSERVED,
) -> list[Comparison]:
    """Fit a probe and its baselines to each task, all tasks in one batch if the probe supports it.

    With `state_dependent`, baselines are also trained with state-dependent noise, if the fit has
    such noise. An ensemble is fitted to resampled `groups` of training documents (by default each
    document is its own group). The identifiability of a linear drift is reported first. If tasks
    have `steps`, fits and baselines learn from them instead of the training paths of the basis.
    """
    pairs = zip(tasks, steps or [None] * len(tasks), strict=True)
    entries = [FitInputs.of(task, options.basis_spec, own) for task, own in pairs]
    for sentence in dict.fromkeys(str(entry.known) for entry in entries):
        progress.message(sentence)
    own = [FitTask(e.seen, e.held, derive(e.task.seed, "probe")) for e in entries]
    found = fit_all(probe, own, watch=progress.epoch)
    made = []
    for entry, fit in zip(entries, found, strict=True):
        seed = entry.task.seed
        resamples = ensemble_tasks(
            entry.seen, entry.held, groups, members=options.ensemble, seed=seed
        )
        members = fit_all(alike(probe, fit.law), resamples, watch=progress.epoch)
        equal = isinstance(probe, MatchedProbe) and not fit.law.constant_noise
        rivals = _baselines(
            probe,
            fit.law,
            entry,
            state_dependent=state_dependent and equal,
            watch=progress.baseline_epoch,
        )
        variants = fit.law.variants
        made.append(
            Comparison(
                entry.basis,
                fit,
                {"fit": fit.law} | {VARIANT + k: law for k, law in variants.items()} | rivals,
                sink_norm(entry.task.train),
                fit_complement(entry.basis, entry.task.train, entry.task.validation),
                equal,
                tuple(member.law for member in members),
                entry.known,
                resolution_notes_of(fit.law, entry.held),
            )
        )
    return made


def resolution_notes_of(law: Law, paths: Paths) -> tuple[str, ...]:
    """Resolution notes of an SDE; other laws have no coefficients."""
    return tuple(resolution_notes(law, paths)) if isinstance(law, SDE) else ()


def density_of(law: Law, probe: Probe) -> str:
    """The density of a fit; that of an SDE may have been chosen by its probe."""
    return law.density if isinstance(law, SDE) else probe.density


def alike(probe: Probe, law: Law) -> Probe:
    """The probe with the density chosen for a law, so that all members use the same density."""
    chosen = density_of(law, probe)
    if chosen == probe.density or chosen not in probe.densities:
        return probe
    return replace(probe, density=chosen)  # type: ignore[type-var]


def finite(value: float) -> float | None:
    """The value, or None if it is not finite, which JSON cannot represent."""
    return value if math.isfinite(value) else None


def _baselines(
    probe: Probe, law: Law, entry: FitInputs, *, state_dependent: bool, watch: Watch
) -> dict[str, Law]:
    """All baselines by name, and the fit's own mean with constant noise."""
    moments, held = entry.moments
    means = baseline_means(moments, held)
    effort = effort_of(probe, moments.dim)
    laws: dict[str, Law] = dict(constant_laws(means, moments, held, effort.noise, entry.seen))
    laws[CONSTANT] = refitted(law, entry.seen, entry.held, effort.noise)
    if state_dependent:
        trained = state_dependent_laws(
            means,
            entry.moments,
            effort,
            entry.seen,
            entry.held,
            seed=derive(entry.task.seed, "baselines"),
            watch=watch,
        )
        laws |= {name + STATE_DEPENDENT: law for name, law in trained.items()}
    return laws
