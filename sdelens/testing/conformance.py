"""What plugins promise, checked: for authors of plugins as for our own.

>>> from sdelens.registry import load
>>> check_probe(load("probe", "linear")())
"""

from typing import Any

from sdelens.fitting.study import Analyzer
from sdelens.protocols import Probe, Source
from sdelens.testing.analyzer_promises import ANALYZER, Asked
from sdelens.testing.probe_promises import PROBE, a_known_process_is_recovered
from sdelens.testing.promises import require_kept
from sdelens.testing.source_promises import SOURCE, Read
from sdelens.testing.trial import Trial


def check_probe(probe: Probe, *, recovers: bool = True) -> None:
    """Raises an `AssertionError` that lists every promise of `sdelens.protocols.Probe` broken.

    A probe is fitted some ten times to 2,200 transitions: where that takes long, give it settings
    that make it quick. With `recovers` it must find the drift and covariance of a known process;
    what has no drift that depends on the state, a random walk say, cannot.
    """
    promises = (*PROBE, a_known_process_is_recovered) if recovers else PROBE
    require_kept(probe, "a probe", promises, Trial.of(probe))


def check_analyzer(analyzer: Analyzer) -> None:
    """Raises an `AssertionError` that lists every promise of `Analyzer` broken.

    It is asked some six times about linear fits to 42 short texts of a model of two blocks.
    """
    require_kept(analyzer, "an analyzer", ANALYZER, Asked(analyzer))


def check_source(source: Source) -> None:
    """Raises an `AssertionError` that lists every promise of `Source` broken.

    It is read some six times, for a model whose context has 48 tokens.
    """
    require_kept(source, "a source", SOURCE, Read(source))


CHECKS: dict[str, Any] = {
    "probe": check_probe,
    "analyzer": check_analyzer,
    "source": check_source,
}
"""By kind."""
