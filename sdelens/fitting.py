"""From paths to a `Fitted` law with its scores: split, basis, probe, baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from sdelens.additive import Moments, times_of
from sdelens.baselines import (
    NAMES,
    Effort,
    baseline_means,
    constant_laws,
    refitted,
    state_dependent_laws,
)
from sdelens.basis import Basis, BasisSpec, fit_basis
from sdelens.errors import UsageError
from sdelens.fitted import Fitted, Record
from sdelens.law import Law
from sdelens.noise import ConstantNoise
from sdelens.origin import Origin
from sdelens.protocols import Fit, Probe, Watch, unwatched
from sdelens.registry import load
from sdelens.scores import Tally, sink_norm, tally
from sdelens.sde import LinearSDE
from sdelens.seeds import derive
from sdelens.settings import build, described
from sdelens.split import Split, split
from sdelens.trajectories import Paths, Trajectories, dt_of, require_transitions

STATE_DEPENDENT = " | state-dependent"
"""Added to a baseline's name for its law with state-dependent noise."""
CONSTANT = "fit | constant"
"""The name of the fit's mean under constant noise."""


def fit(
    states: Float[Tensor, "path time dim"] | Float[ndarray, "path time dim"] | Paths,
    *,
    dt: float | None = None,
    probe: str | Probe = "neural",
    basis: str = "standard",
    center: str = "all",
    seed: int = 0,
    **settings: Any,
) -> Fitted:
    """Fit a probe to paths; no language model is needed: `sdelens.fit(states, probe="linear")`.

    80% of the paths train, 10% validate, 10% are held out for the scores beside constant-noise
    baselines (`Fitted.record.scores`). Without `dt` the paths are discrete, one step a unit of
    time; with it they sample continuous time, and the probe's continuous density is the default
    (``exact`` for linear, ``euler`` for neural). `settings` are the probe's.

    >>> import torch
    >>> noise = torch.randn(200, 50, 1, generator=torch.Generator().manual_seed(0))
    >>> fitted = fit(noise.cumsum(1), probe="constant")
    >>> fitted.transition(0.0, torch.zeros(1)).covariance.shape
    torch.Size([1, 1])
    """
    paths = states if isinstance(states, Paths) else _paths(torch.as_tensor(states), dt)
    if isinstance(probe, str):
        kind, chosen = probe, load("probe", probe)
        density = chosen.densities[0 if dt is None else -1]
        built: Probe = build(chosen, {"density": density} | settings, kind)
    elif settings:
        raise UsageError(f"settings belong to a probe by name, got {settings} beside {probe!r}")
    else:
        kind, built = type(probe).__name__, probe
    documents = [number for block in paths for number in block.document.tolist()]
    sides = split(documents, seed=seed)
    return fit_view(
        paths,
        Split(*(tuple(documents[i] for i in side) for side in vars(sides).values())),
        {number: number for number in documents},
        built,
        kind=kind,
        spec=BasisSpec(basis, center),
        seed=seed,
    )


def _paths(states: Tensor, dt: float | None) -> Trajectories:
    if states.ndim != 3 or states.shape[1] < 2:
        raise UsageError(
            f"states must be [path, time, dim] with two times or more, got {tuple(states.shape)}; "
            "cut one long path into several: states.reshape(100, -1, dim)"
        )
    if dt is not None and not dt > 0:
        raise UsageError(f"dt must be above 0, got {dt}")
    precise = states if states.dtype == torch.float64 else states.float()
    return Trajectories.from_states(precise, 1.0 if dt is None else dt)


@dataclass(frozen=True, eq=False)
class Contest:
    """A fit and everything that it must beat, all fitted to the same training documents."""

    basis: Basis
    found: Fit
    laws: Mapping[str, Law]
    sink: float
    equal: bool
    """Whether the fit's noise depends on the state and the baselines have the same kind."""

    def scores(self, test: Paths, groups: Mapping[int, int]) -> dict[str, Any]:
        """All laws on test paths: what goes into metrics.json."""
        every, clean = tally(self.laws, self.basis, test, groups, sink=self.sink)
        compared = self.equal and "iid_position" + STATE_DEPENDENT in self.laws
        return scores_of(every, clean, self.basis, state_dependent=compared)


def contest(
    train: Paths,
    validation: Paths,
    probe: Probe,
    *,
    spec: BasisSpec,
    seed: int,
    state_dependent: bool = False,
    watch: Watch = unwatched,
    watch_baselines: Watch = unwatched,
) -> Contest:
    """Fit a probe and its baselines.

    With `state_dependent`, baselines are fitted under that noise too, which takes training.
    """
    basis = fit_basis(spec, train)
    seen, held = basis.view(train), basis.view(validation)
    found = probe.fit(seen, held, seed=derive(seed, "probe"), watch=watch)
    others = _baselines(
        probe,
        found.law,
        seen,
        held,
        seed=seed,
        state_dependent=state_dependent,
        watch=watch_baselines,
    )
    equal = hasattr(probe, "effort") and not _constant(found.law)
    return Contest(basis, found, {"fit": found.law} | others, sink_norm(train), equal)


def _constant(law: Law) -> bool:
    """Whether the noise of a law is known to be the same in all states."""
    return isinstance(law, LinearSDE) or isinstance(getattr(law, "noise", None), ConstantNoise)


def fit_view(
    paths: Paths,
    sides: Split,
    groups: Mapping[int, int],
    probe: Probe,
    *,
    kind: str,
    seed: int,
    test: Paths | None = None,
    origin: Origin | None = None,
    **how: Any,
) -> Fitted:
    """Fit one view on its training documents and score it on its test documents.

    `test` takes the place of the test documents' paths where some of them must not be scored; the
    rest goes to `contest`.
    """
    train, validation = paths.select(sides.train), paths.select(sides.validation)
    held_out = paths.select(sides.test) if test is None else test
    for side, part in (("training", train), ("validation", validation), ("held-out", held_out)):
        require_transitions(part, side)
    fought = contest(train, validation, probe, seed=seed, **how)
    record = Record(
        probe=kind,
        settings=described(probe),
        density=probe.density,
        dt=dt_of(train),
        seed=seed,
        history=fought.found.history,
        scores=fought.scores(held_out, groups),
    )
    return Fitted(fought.found.law, fought.basis, record, origin)


def _baselines(
    probe: Probe,
    law: Law,
    train: Paths,
    validation: Paths,
    *,
    seed: int,
    state_dependent: bool,
    watch: Watch,
) -> dict[str, Law]:
    """All baselines by name, and the fit's own mean under constant noise."""
    times = times_of(train)
    moments, held = Moments.of(train, times), Moments.of(validation, times)
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


def scores_of(
    every: Tally, clean: Tally, basis: Basis, *, state_dependent: bool
) -> dict[str, Any]:
    """All held-out scores as JSON: nats per dimension, training-standardised coordinates.

    `state_dependent` tells whether the fit is compared in that column: where its own noise is of
    that kind and the baselines were given the same. Else it is its mean under constant noise that
    is compared.
    """
    standard = basis.log_volume_standard() / basis.latent
    suffix = STATE_DEPENDENT if state_dependent else ""
    fighter = "fit" if state_dependent else CONSTANT
    gain = every.gain(fighter, "iid_position" + suffix)
    nll, r2 = every.nll("fit"), every.increment_r2("fit")
    baselines = [name for name in NAMES if name in every.names]
    return {
        "held_out_nll_per_dim": nll.value + standard,
        "held_out_nll_stderr": nll.stderr,
        "held_out_nll_raw_per_dim": nll.value + basis.log_volume() / basis.latent,
        "held_out_nll_per_dim_without_sinks": clean.nll("fit").value + standard,
        "gain_over_iid_position": gain.value,
        "gain_over_iid_position_stderr": gain.stderr,
        "increment_r2": r2.value,
        "increment_r2_stderr": r2.stderr,
        "noise_column": "state-dependent" if state_dependent else "constant",
        "transitions": every.transitions,
        "transitions_with_sinks": every.transitions - clean.transitions,
        "held_out_documents": every.groups,
        "baselines": {
            name: _row(name, every, clean, standard, compared=state_dependent)
            for name in baselines
        },
        "fit": _row("fit", every, clean, standard, compared=state_dependent),
    }


def _row(
    name: str, every: Tally, clean: Tally, shift: float, *, compared: bool
) -> dict[str, float]:
    """One mean under both noises, and how much better than it the fit is in the same column."""
    own = CONSTANT if name == "fit" else name
    r2 = every.increment_r2(own)
    row = {"increment_r2": r2.value, "increment_r2_stderr": r2.stderr}
    row |= _column("", own, every, clean, shift) | _gain("", own, CONSTANT, every)
    dependent = "fit" if name == "fit" else name + STATE_DEPENDENT
    if dependent in every.names and (compared or name != "fit"):
        row |= _column("_state_dependent", dependent, every, clean, shift)
    if compared:
        row |= _gain("_state_dependent", dependent, "fit", every)
    return row


def _column(suffix: str, name: str, every: Tally, clean: Tally, shift: float) -> dict[str, float]:
    nll = every.nll(name)
    return {
        f"nll_per_dim{suffix}": nll.value + shift,
        f"nll_per_dim{suffix}_stderr": nll.stderr,
        f"nll_per_dim{suffix}_without_sinks": clean.nll(name).value + shift,
    }


def _gain(suffix: str, name: str, fighter: str, every: Tally) -> dict[str, float]:
    gain = every.gain(fighter, name)
    return {f"gain_of_fit{suffix}": gain.value, f"gain_of_fit{suffix}_stderr": gain.stderr}
