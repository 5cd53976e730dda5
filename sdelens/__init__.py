"""Language-model dynamics as stochastic differential equations.

    import sdelens

    fitted = sdelens.fit(states, dt=0.05, probe="linear", seed=0)     # [path, time, dim], no model
    recording = sdelens.capture("tiny", texts, layers="0-7")          # states of a language model
    study = sdelens.load("runs/tiny-L6-1a2b3c4d")                     # what `sdelens fit` wrote
    lens = sdelens.attach(model, tokenizer=tok)                       # a model that you hold

Names are imported on first use, so that `import sdelens` itself imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdelens.fitting.fit import fit as fit
    from sdelens.fitting.fitted import Fitted as Fitted
    from sdelens.fitting.simulation import simulate as simulate
    from sdelens.fitting.study import Study as Study
    from sdelens.registering import analyzer as analyzer
    from sdelens.registering import noise as noise
    from sdelens.registering import probe as probe
    from sdelens.registering import reporter as reporter
    from sdelens.registering import source as source
    from sdelens.runs.interventions import compare as compare
    from sdelens.runs.lens import attach as attach
    from sdelens.runs.loading import load as load
    from sdelens.states.capturing import capture as capture
    from sdelens.steering.steer import steer as steer

_HOMES = {
    "Fitted": "fitting.fitted",
    "Study": "fitting.study",
    "analyzer": "registering",
    "attach": "runs.lens",
    "capture": "states.capturing",
    "compare": "runs.interventions",
    "fit": "fitting.fit",
    "load": "runs.loading",
    "noise": "registering",
    "probe": "registering",
    "reporter": "registering",
    "simulate": "fitting.simulation",
    "source": "registering",
    "steer": "steering.steer",
}
__all__ = [
    "Fitted",
    "Study",
    "analyzer",
    "attach",
    "capture",
    "compare",
    "fit",
    "load",
    "noise",
    "probe",
    "reporter",
    "simulate",
    "source",
    "steer",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdelens' has no attribute {name!r}")
    return getattr(import_module(f"sdelens.{_HOMES[name]}"), name)
