"""A fit and everything that it must beat, made from the same documents."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdelens.estimation.additive import Moments, times_of
from sdelens.estimation.complement import Complement, fit_complement
from sdelens.estimation.ensemble import ensemble_tasks, fit_all
from sdelens.estimation.identifiability import Identifiability
from sdelens.fitting.baselines import (
    Effort,
    baseline_means,
    constant_laws,
    refitted,
    state_dependent_laws,
)
from sdelens.fitting.metrics import CONSTANT, STATE_DEPENDENT, VARIANT, scores_of
from sdelens.fitting.scores import sink_norm, tally
from sdelens.laws.constant_noise import ConstantNoise
from sdelens.laws.law import Law
from sdelens.laws.sde import LinearSDE
from sdelens.paths.basis import Basis, BasisSpec, fit_basis
from sdelens.paths.trajectories import Paths
from sdelens.protocols import Fit, Probe, Tell, Watch, untold, unwatched
from sdelens.seeds import derive


@dataclass(frozen=True, eq=False)
class Contest:
    """A fit and everything that it must beat, all fitted to the same training documents."""

    basis: Basis
    found: Fit
    laws: Mapping[str, Law]
    sink: float
    complement: Complement | None
    equal: bool
    """Whether the fit's noise depends on the state and the baselines have the same kind."""
    members: tuple[Law, ...] = ()
    """Fits to resampled documents."""
    known: Identifiability | None = None
    """How well a linear drift can be known from so many transitions."""

    def scores(self, test: Paths, groups: Mapping[int, int]) -> dict[str, Any]:
        """All laws on test paths: what goes into metrics.json."""
        every, clean = tally(
            self.laws, self.basis, test, groups, sink=self.sink, complement=self.complement
        )
        compared = self.equal and "iid_position" + STATE_DEPENDENT in self.laws
        notes = [str(self.known)] if self.known and self.known.poor else []
        return scores_of(every, clean, self.basis, state_dependent=compared) | {
            "linear_drift_error": finite(self.known.error) if self.known else None,
            "notes": [*notes, *self.found.notes],
        }


def contest(
    train: Paths,
    validation: Paths,
    probe: Probe,
    *,
    spec: BasisSpec,
    seed: int,
    state_dependent: bool = False,
    ensemble: int = 0,
    groups: Mapping[int, int] | None = None,
    watch: Watch = unwatched,
    watch_baselines: Watch = unwatched,
    tell: Tell = untold,
) -> Contest:
    """Fit a probe and its baselines.

    With `state_dependent`, baselines are fitted under that noise too, which takes training. An
    `ensemble` of so many members is fitted to resampled `groups` of training documents (without
    groups each document is one). What can be known of a linear drift at all is told first.
    """
    basis = fit_basis(spec, train)
    seen, held = basis.view(train), basis.view(validation)
    times = times_of(seen)
    moments, unseen = Moments.of(seen, times), Moments.of(held, times)
    known = Identifiability.of(moments)
    tell(str(known))
    found = probe.fit(seen, held, seed=derive(seed, "probe"), watch=watch)
    tasks = ensemble_tasks(seen, held, groups, members=ensemble, seed=seed)
    members = tuple(fit.law for fit in fit_all(probe, tasks, watch=watch))
    rivals = _baselines(
        probe,
        found.law,
        (moments, unseen),
        seen,
        held,
        seed=seed,
        state_dependent=state_dependent,
        watch=watch_baselines,
    )
    equal = hasattr(probe, "effort") and not _constant(found.law)
    complement = fit_complement(basis, train, validation)
    variants = getattr(found.law, "variants", {})
    laws = {"fit": found.law} | {VARIANT + name: law for name, law in variants.items()} | rivals
    return Contest(basis, found, laws, sink_norm(train), complement, equal, members, known)


def finite(value: float) -> float | None:
    """None where JSON has no number."""
    return value if math.isfinite(value) else None


def _constant(law: Law) -> bool:
    """Whether the noise of a law is known to be the same in all states."""
    return isinstance(law, LinearSDE) or isinstance(getattr(law, "noise", None), ConstantNoise)


def _baselines(
    probe: Probe,
    law: Law,
    sums: tuple[Moments, Moments],
    train: Paths,
    validation: Paths,
    *,
    seed: int,
    state_dependent: bool,
    watch: Watch,
) -> dict[str, Law]:
    """All baselines by name, and the fit's own mean under constant noise."""
    moments, held = sums
    means = baseline_means(moments, held)
    effort: Effort = getattr(probe, "effort", Effort())
    laws: dict[str, Law] = dict(constant_laws(means, moments, effort.noise))
    laws[CONSTANT] = refitted(law, train, effort.noise)
    if state_dependent:
        part = derive(seed, "baselines")
        trained = state_dependent_laws(
            means, moments, effort, train, validation, seed=part, watch=watch
        )
        laws |= {name + STATE_DEPENDENT: law for name, law in trained.items()}
    return laws
