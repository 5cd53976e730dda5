"""From paths to a `Fitted` law with its scores: split, basis, probe, baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
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
from sdelens.scores import Tally, Value, sink_norm, tally
from sdelens.sde import LinearSDE
from sdelens.seeds import derive
from sdelens.settings import build, described
from sdelens.split import Split, split
from sdelens.trajectories import Paths, Trajectories, dt_of

STATE_DEPENDENT = " | state-dependent"
"""Added to a baseline's name for its law with state-dependent noise."""


def fit(
    states: Float[Tensor, "path time dim"] | Paths,
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
    paths = states if isinstance(states, Paths) else _paths(states, dt)
    if isinstance(probe, str):
        kind, chosen = probe, load("probe", probe)
        density = chosen.densities[0 if dt is None else -1]
        built: Probe = build(chosen, {"density": density} | settings, kind)
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
    return Trajectories.from_states(states.float(), 1.0 if dt is None else dt)


@dataclass(frozen=True, eq=False)
class Contest:
    """A fit and everything that it must beat, all fitted to the same training documents."""

    basis: Basis
    found: Fit
    laws: Mapping[str, Law]
    sink: float

    def scores(self, test: Paths, groups: Mapping[int, int]) -> dict[str, Any]:
        """All laws on test paths: what goes into metrics.json."""
        every, clean = tally(self.laws, self.basis, test, groups, sink=self.sink)
        return scores_of(every, clean, self.basis, self.found.law)


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
    return Contest(basis, found, {"fit": found.law} | others, sink_norm(train))


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
    fought = contest(train, validation, probe, seed=seed, **how)
    record = Record(
        probe=kind,
        settings=described(probe),
        density=probe.density,
        dt=dt_of(train),
        seed=seed,
        history=fought.found.history,
        scores=fought.scores(paths.select(sides.test) if test is None else test, groups),
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
    laws["fit | constant"] = refitted(law, train, effort.noise)
    if state_dependent:
        part = derive(seed, "baselines")
        trained = state_dependent_laws(
            means, moments, effort, train, validation, seed=part, watch=watch
        )
        laws |= {name + STATE_DEPENDENT: law for name, law in trained.items()}
    return laws


def scores_of(every: Tally, clean: Tally, basis: Basis, law: Law) -> dict[str, Any]:
    """All held-out scores as JSON: nats per dimension, training-standardised coordinates."""
    standard = basis.log_volume_standard() / basis.latent
    raw = basis.log_volume() / basis.latent
    constant = isinstance(law, LinearSDE) or isinstance(getattr(law, "noise", None), ConstantNoise)
    own = "" if constant else STATE_DEPENDENT
    own = own if "iid_position" + own in every.names else ""
    gain = every.gain("fit", "iid_position" + own)
    nll = every.nll("fit")
    return {
        "held_out_nll_per_dim": nll.value + standard,
        "held_out_nll_stderr": nll.stderr,
        "held_out_nll_raw_per_dim": nll.value + raw,
        "held_out_nll_per_dim_without_sinks": clean.nll("fit").value + standard,
        "gain_over_iid_position": gain.value,
        "gain_over_iid_position_stderr": gain.stderr,
        "increment_r2": every.increment_r2("fit").value,
        "increment_r2_stderr": every.increment_r2("fit").stderr,
        "noise_column": "state-dependent" if own else "constant",
        "transitions": every.transitions,
        "transitions_with_sinks": every.transitions - clean.transitions,
        "held_out_documents": every.groups,
        "baselines": {n: _row(n, every, clean, standard) for n in NAMES if n in every.names},
        "fit": _row("fit", every, clean, standard),
    }


def _row(name: str, every: Tally, clean: Tally, shift: float) -> dict[str, Any]:
    """One mean under both noises, and how much better than it the fit is in the same column."""
    own = "fit | constant" if name == "fit" else name
    row: dict[str, Any] = _column("", own, "fit | constant", every, clean, shift)
    row |= {
        "increment_r2": every.increment_r2(own).value,
        "increment_r2_stderr": every.increment_r2(own).stderr,
    }
    dependent = "fit" if name == "fit" else name + STATE_DEPENDENT
    if dependent in every.names and any(STATE_DEPENDENT in n for n in every.names):
        row |= _column("_state_dependent", dependent, "fit", every, clean, shift)
    return row


def _column(
    suffix: str, name: str, fit_name: str, every: Tally, clean: Tally, shift: float
) -> dict[str, float]:
    nll: Value = every.nll(name)
    gain = every.gain(fit_name, name)
    return {
        f"nll_per_dim{suffix}": nll.value + shift,
        f"nll_per_dim{suffix}_stderr": nll.stderr,
        f"nll_per_dim{suffix}_without_sinks": clean.nll(name).value + shift,
        f"gain_of_fit{suffix}": gain.value,
        f"gain_of_fit{suffix}_stderr": gain.stderr,
    }
