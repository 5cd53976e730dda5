"""Language-model dynamics as stochastic differential equations.

    import sdelens

    fitted = sdelens.fit(states, dt=0.05, probe="linear", seed=0)     # [path, time, dim], no model
    recording = sdelens.capture("tiny", texts, layers="0-7")          # states of a language model
    study = sdelens.load("runs/tiny-L6-1a2b3c4d")                     # what `sdelens fit` wrote

Names are imported on first use, so that `import sdelens` itself imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdelens.capturing import capture as capture
    from sdelens.fitted import Fitted as Fitted
    from sdelens.fitting import fit as fit
    from sdelens.run import load as load
    from sdelens.simulation import simulate as simulate
    from sdelens.study import Study as Study

_HOMES = {
    "Fitted": "fitted",
    "Study": "study",
    "capture": "capturing",
    "fit": "fitting",
    "load": "run",
    "simulate": "simulation",
}
__all__ = ["Fitted", "Study", "capture", "fit", "load", "simulate"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdelens' has no attribute {name!r}")
    return getattr(import_module(f"sdelens.{_HOMES[name]}"), name)
