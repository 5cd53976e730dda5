"""Accuracy of a probe on the reference systems, relative to the truth and the efficient bound."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, stdev
from time import perf_counter
from typing import Any

from sdelens.containment.contained import contained
from sdelens.errors import BrokenPlugin, SdelensError, UsageError
from sdelens.interfaces import load
from sdelens.protocols import Probe
from sdelens.settings import build
from sdelens.testing import systems as all_systems
from sdelens.testing.efficient import CramerRaoBound, efficient
from sdelens.testing.ornstein_uhlenbeck import OrnsteinUhlenbeck
from sdelens.testing.recovery import Recovery, recover
from sdelens.testing.system import System

Done = Callable[[str, int], None]
"""Called with the system's name and the seed after each fit."""


def unobserved(system: str, seed: int) -> None:
    """Ignores progress."""
    del system, seed


@dataclass(frozen=True)
class Value:
    """An estimate and its standard error."""

    value: float
    stderr: float


@dataclass(frozen=True)
class ValidationRow:
    """Accuracy of a probe on one system: means over seeds with standard errors.

    Entries are None if there is no truth, no bound, or no estimate of the probe.
    """

    system: str
    dim: int
    transitions: int
    seeds: int
    seconds: float
    """Seconds for one fit with its scores."""
    drift_ratio: Value | None = None
    """Mean squared error of the drift relative to an efficient estimator."""
    covariance_ratio: Value | None = None
    r"""Mean squared error of :math:`\sigma\sigma^\top` relative to an efficient estimator."""
    excess_ratio: Value | None = None
    """Held-out excess loss relative to p/2N."""
    excess: Value | None = None
    """Held-out excess loss over the true law in nats per transition."""
    drift_r2: Value | None = None
    """Recovered share of the true drift's variance, one minus the NMSE."""
    covariance_error: Value | None = None
    r"""Relative root mean squared error of :math:`\sigma\sigma^\top`."""
    predicted: Value | None = None
    """Coverage of 90% predictive intervals."""
    intervals: Value | None = None
    """Coverage of 90% intervals of the coefficients."""
    failure: str | None = None
    """Why the row is empty."""


def validate(
    probe: str | type[Any] | Probe,
    systems: Mapping[str, System] | None = None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    transitions: int = 20_000,
    ensemble: int = 0,
    done: Done = unobserved,
    **settings: Any,
) -> list[ValidationRow]:
    """Fit a probe to each system with each seed and compare it with the truth, one row per system.

    A probe given by name or class uses its preferred density for the system's kind of time; a
    probe object is used unchanged. Linear systems are compared with the Cramér-Rao bound of
    discrete observation (`sdelens.testing.efficient`). The row of a probe that refuses a system
    states why.

    >>> from sdelens.testing import ornstein_uhlenbeck
    >>> one = {"simple": ornstein_uhlenbeck()}
    >>> [row] = validate("linear", one, transitions=2000)
    >>> row.drift_ratio is not None and row.drift_ratio.value < 10
    True
    """
    if transitions < 200 or not seeds:
        raise UsageError(
            f"at least 200 transitions and one seed are needed, got {transitions} and {len(seeds)}"
        )
    chosen = all_systems() if systems is None else systems
    rows, label = [], _label(probe)
    for name, system in chosen.items():
        built = _built(probe, system, settings)
        clock, found, failure = perf_counter(), [], None
        try:
            for seed in seeds:
                with contained(f"the probe {label}"):
                    one = recover(
                        built, system, transitions=transitions, seed=seed, ensemble=ensemble
                    )
                found.append(one)
                done(name, seed)
        except BrokenPlugin:
            raise
        except SdelensError as error:
            failure = str(error)
        seconds = (perf_counter() - clock) / max(len(found), 1)
        means: dict[str, Any] = {} if failure else _means(found, system, transitions)
        head = (name, system.dim, transitions, len(found), seconds)
        rows.append(ValidationRow(*head, **means, failure=failure))
    return rows


def _built(probe: str | type[Any] | Probe, system: System, settings: Mapping[str, Any]) -> Probe:
    """The probe with its preferred density for the system's kind of time."""
    if not isinstance(probe, str | type):
        if settings:
            raise UsageError(
                f"settings can be given only with the name of a probe, got {settings} with {probe}"
            )
        return probe
    kind: Any = load("probe", probe) if isinstance(probe, str) else probe
    density = kind.densities[-1 if system.continuous else 0]
    built: Probe = build(kind, {"density": density} | dict(settings), _label(probe))
    return built


def _label(probe: str | type[Any] | Probe) -> str:
    """The name of the probe or its class."""
    if isinstance(probe, str):
        return probe
    return probe.__name__ if isinstance(probe, type) else type(probe).__name__


def _means(found: Sequence[Recovery], system: System, transitions: int) -> dict[str, Any]:
    """Means of all available columns."""
    known = [one.coefficients for one in found if one.coefficients is not None]
    columns = {
        "predicted": [one.predicted for one in found],
        "excess": [one.excess for one in found if one.excess is not None],
        "drift_r2": [1 - one.drift / one.drift_scale for one in known],
        "covariance_error": [math.sqrt(one.relative) for one in known],
        "intervals": [fmean(one.intervals) for one in known if one.intervals],
    }
    if isinstance(system, OrnsteinUhlenbeck):
        bound, n = _bound(system), transitions
        columns["excess_ratio"] = [2 * n * x / bound.parameters for x in columns["excess"]]
        columns["drift_ratio"] = [n * one.drift / bound.drift for one in known]
        columns["covariance_ratio"] = [n * one.covariance / bound.covariance for one in known]
    return {name: _mean(values) for name, values in columns.items() if values}


def _mean(values: Sequence[float]) -> Value:
    """Mean and standard error; the error of a single value is infinite."""
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.inf
    return Value(fmean(values), error)


@cache
def _bound(system: OrnsteinUhlenbeck) -> CramerRaoBound:
    return efficient(system)
