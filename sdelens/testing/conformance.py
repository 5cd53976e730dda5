"""Conformance checks for built-in and third-party plugins.

>>> from sdelens.interfaces import load
>>> check_probe(load("probe", "linear")())
"""

from typing import Any

from sdelens.fitting.study import Study
from sdelens.protocols import Analyzer, Probe, Source
from sdelens.testing.analyzer_promises import ANALYZER, Asked
from sdelens.testing.probe_promises import PROBE, a_known_process_is_recovered
from sdelens.testing.promises import require_kept
from sdelens.testing.source_promises import SOURCE, Read
from sdelens.testing.trial import Trial


def check_probe(probe: Probe, *, recovers: bool = True) -> None:
    """Raise an `AssertionError` that lists every violated requirement of `Probe`.

    The probe is fitted about ten times to 2,200 transitions; use fast settings for slow probes.
    With `recovers` it must recover the drift and covariance of a known process, which probes
    without a state-dependent drift, such as a random walk, cannot.
    """
    promises = (*PROBE, a_known_process_is_recovered) if recovers else PROBE
    require_kept(probe, "a probe", promises, Trial.of(probe))


def check_analyzer(analyzer: Analyzer[Study]) -> None:
    """Raise an `AssertionError` that lists every violated requirement of `Analyzer`.

    The analyzer runs about six times on linear fits to 42 short texts of a two-block model.
    """
    require_kept(analyzer, "an analyzer", ANALYZER, Asked(analyzer))


def check_source(source: Source) -> None:
    """Raise an `AssertionError` that lists every violated requirement of `Source`.

    The source is read about six times, for a model with a context of 48 tokens.
    """
    require_kept(source, "a source", SOURCE, Read(source))


CHECKS: dict[str, Any] = {
    "probe": check_probe,
    "analyzer": check_analyzer,
    "source": check_source,
}
"""Checks by kind of plugin."""
